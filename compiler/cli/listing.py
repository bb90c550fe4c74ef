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
        help="build and run kernels of a target, where that is possible here, and print what its file can say of them: "
        "the cycles of each pair of widths, and prices of what code is made of",
    )


def targets(options: argparse.Namespace) -> int:
    """List the installed targets, or measure one."""
    return list_targets(options) if options.measure is None else measure_target(options)


def measure_target(options: argparse.Namespace) -> int:
    """Cycles by bits of weight and of activation, and prices of code, as lines for the target's file."""
    from bitsmith.errors import TargetError
    from bitsmith.legality import backend_of
    from bitsmith.target import load_target

    target = load_target(options.measure)
    backend, progress = backend_of(target), progress_for(options)
    found = {
        "cycles": backend.measure(target, progress),
        "code": backend.measure_code(target, progress),
    }
    told = {table: {name: float(cost) for name, cost in one.items()} for table, one in found.items() if one is not None}
    if not told:
        raise TargetError(
            f"the backend {target.backend} cannot run its kernels here, so there is nothing to measure",
            where=f"target {target.name}",
            fix="Write what you know into the target's file, under [cycles] and [code].",
        )
    lines = []
    for table, costs in told.items():
        title = f"# Measured: {MEASURED[table].format(target.name)}."
        lines += ["", title, f"[{table}]", *(f'"{name}" = {cost:.4g}' for name, cost in costs.items())]
    say(options, lines[1:], told)
    return 0


MEASURED = {
    "cycles": "cycles of a multiply-accumulate on {}, by weight bits x activation bits",
    "code": "bytes of what code is made of on {}",
}


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
