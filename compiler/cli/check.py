"""`bitsmith check`: node by node, what stands in the way of a model, why, and what to do about it."""

from __future__ import annotations

import argparse
import dataclasses

from bitsmith.cli.options import add_input_shape, add_target, shapes_given
from bitsmith.cli.output import progress_for, say
from bitsmith.console import paint


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
    for refusal in found.refusals:
        lines.append(f"{paint(refusal.where, 'bold')}: {refusal.reason}.")
        if refusal.fix:
            lines.append(f"    {refusal.fix}")
    kept = ", ".join(f"{count} {op}" for op, count in found.ops.items())
    if found.refusals:
        places = "place blocks" if len(found.refusals) == 1 else "places block"
        lines.append(paint(f"{len(found.refusals)} {places} it for {found.target}.", "red"))
    else:
        lines.append(paint(f"Every node can be compiled for {found.target}", "green") + f" (normalised: {kept}).")
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


COMMANDS = (("check", "say, node by node, what in a model a target cannot do", add_options, run),)
