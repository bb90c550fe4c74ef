"""`bitsmith check`: node by node, what stands in the way of a model, why, and what to do about it."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bitsmith.cli.options import add_input_shape, add_target, shapes_given
from bitsmith.cli.output import progress_for, say
from bitsmith.console import paint
from bitsmith.errors import ended

if TYPE_CHECKING:
    from bitsmith.backend import Refusal


def add_options(command: argparse.ArgumentParser) -> None:
    """What check takes."""
    command.add_argument("model", metavar="MODEL.onnx", help="a float32 model, or one that is quantized already")
    add_target(command)
    add_input_shape(command)


def run(options: argparse.Namespace) -> int:
    """Print what blocks; 0 if nothing does, else 1."""
    from bitsmith.legality import check

    progress_for(options, "check")
    found = check(options.model, options.target, shapes_given(options))
    lines = []
    for alike in _alike(found.refusals):
        places = ", ".join(refusal.where for refusal in alike[:NAMED])
        more = f" and {len(alike) - NAMED} more" if len(alike) > NAMED else ""
        lines.append(f"{paint(places + more, 'bold')}: {ended(alike[0].reason)}")
        if alike[0].fix:
            lines.append(f"    {alike[0].fix}")
    kept = ", ".join(f"{count} {op}" for op, count in found.ops.items())
    if found.refusals:
        places = "place blocks" if len(found.refusals) == 1 else "places block"
        lines.append(paint(f"{len(found.refusals)} {places} it for {found.target}.", "red"))
    else:
        lines.append(paint(f"Every node can be compiled for {found.target}", "green") + f" (normalised: {kept}).")
        lines += ["", "Next:", f"  {_next(options, found.is_quantized)}"]
    say(
        options,
        lines,
        {
            "target": found.target,
            "compiles": not found.refusals,
            "ops": dict(found.ops),
            "refusals": [dataclasses.asdict(refusal) for refusal in found.refusals],
        },
    )
    return 1 if found.refusals else 0


def _next(options: argparse.Namespace, is_quantized: bool) -> str:
    """The command that compiles what was checked, for the same target and by the same shapes."""
    words = ["bitsmith", "compile", options.model, "--target", options.target]
    for name, shape in options.input_shape:
        words += ["--input-shape", f"{name}={','.join(map(str, shape))}"]
    words += [] if is_quantized else ["--calibration", "DATA.npz"]
    return shlex.join([*words, "-o", "OUT/"])


NAMED = 4
"""Places that are named of those that are refused alike: a network has the same block dozens of times."""


def _alike(refusals: Iterable[Refusal]) -> list[list[Refusal]]:
    """Refusals of the same kind of node for the same reason, in the order of the first of each."""
    groups: dict[tuple[str, str, str], list[Refusal]] = {}
    for refusal in refusals:
        groups.setdefault((refusal.where.split(" ")[0], refusal.reason, refusal.fix), []).append(refusal)
    return list(groups.values())


COMMANDS = (("check", "say, node by node, what in a model a target cannot do", add_options, run),)
