"""`bitsmith passes` and `bitsmith targets`: what is installed."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
from typing import Any

from bitsmith import registry
from bitsmith.cli.output import progress_for, say
from bitsmith.console import columns
from bitsmith.errors import BitsmithError


def no_options(command: argparse.ArgumentParser) -> None:
    """These commands take nothing but what all take."""


def list_passes(options: argparse.Namespace) -> int:
    """Name, options with their defaults, and what it does, of every installed pass."""
    found, faults = [], []
    for name in registry.names(registry.PASSES):
        try:
            found.append(_described(name))
        except BitsmithError as fault:
            faults.append(str(fault))
    rows = [(one["name"], _options_text(one["options"]), one["summary"]) for one in found]
    lines = [*(columns(rows, indent=0) if rows else ["no pass is installed"]), *faults]
    say(options, lines, {"passes": found, "faults": faults})
    return 1 if faults else 0


def _described(name: str) -> dict[str, Any]:
    one = registry.find(registry.PASSES, name)
    return {
        "name": name,
        "summary": (inspect.getdoc(one) or "").strip().split("\n\n")[0].replace("\n", " "),
        "preserves": bool(getattr(one, "preserves", False)),
        "options": [
            {"name": field.name, "type": str(field.type), "default": _default(field)}
            for field in (dataclasses.fields(one) if dataclasses.is_dataclass(one) else ())
        ],
    }


def _default(field: dataclasses.Field[Any]) -> str | None:
    if field.default is dataclasses.MISSING:
        return None
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def _options_text(options: list[dict[str, Any]]) -> str:
    shown = [one["name"] + ("" if one["default"] is None else f"={one['default']}") for one in options]
    return "{" + ",".join(shown) + "}" if shown else ""


def target_options(command: argparse.ArgumentParser) -> None:
    """What targets takes."""
    command.add_argument(
        "--measure",
        metavar="NAME|FILE.toml",
        help="run kernels of a target, where that is possible here, and print its table of cycles by bits",
    )


def targets(options: argparse.Namespace) -> int:
    """List the installed targets, or measure one."""
    return list_targets(options) if options.measure is None else measure_target(options)


def measure_target(options: argparse.Namespace) -> int:
    """Cycles of a multiply-accumulate by bits of weight and of activation, as lines for the target's file."""
    from bitsmith.errors import TargetError
    from bitsmith.legality import backend_of
    from bitsmith.target import load_target

    target = load_target(options.measure)
    found = backend_of(target).measure(target, progress_for(options))
    if found is None:
        raise TargetError(
            f"the backend {target.backend} cannot run its kernels here, so there is nothing to measure",
            where=f"target {target.name}",
            fix="Write what you know into the target's file, under [cycles].",
        )
    cycles = {pair: float(cost) for pair, cost in found.items()}
    title = f"# Measured: cycles of a multiply-accumulate on {target.name}, by weight bits x activation bits."
    say(options, [title, "[cycles]", *(f'"{pair}" = {cost:.4g}' for pair, cost in cycles.items())], {"cycles": cycles})
    return 0


def list_targets(options: argparse.Namespace) -> int:
    """Name, backend, bits and description of every installed target."""
    from bitsmith.target import installed_targets

    installed = installed_targets()
    rows = [
        (
            target.name,
            target.backend,
            f"weights {_bits(target.weight_bits)}",
            f"activations {_bits(target.activation_bits)}",
            target.description,
        )
        for target in installed.targets.values()
    ]
    faults = [str(fault) for fault in installed.faults.values()]
    lines = [*(columns(rows, indent=0) if rows else ["no target is installed"]), *faults]
    say(options, lines, {"targets": [target.to_json() for target in installed.targets.values()], "faults": faults})
    return 1 if faults else 0


def _bits(bits: tuple[int, ...]) -> str:
    return ",".join(map(str, bits))


COMMANDS = (
    ("passes", "list the passes that a pipeline can name, and their options", no_options, list_passes),
    ("targets", "list the targets that a model can be compiled for", target_options, targets),
)
