"""`bitsmith compile`: a float model in, a verified integer artifact out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitsmith.cli.options import (
    activations,
    add_choices,
    add_input_shape,
    add_seed,
    add_sensitivity,
    add_target,
    allocation,
    budget,
    input_range,
    points,
    recipe_given,
    weights,
)
from bitsmith.cli.output import progress_for, say
from bitsmith.console import ProgressLine, duration

WORTH_A_LINE = 0.5
"""Seconds after which a pass that changed nothing is mentioned all the same."""


def add_options(command: argparse.ArgumentParser) -> None:
    """What compile takes."""
    command.add_argument(
        "model", metavar="MODEL.onnx", help="a trained float32 model, opset 7 to 26, or one that others quantized"
    )
    add_target(command)
    command.add_argument("--calibration", metavar="DATA.npz", help="samples x (or one key per input) to take ranges of")
    command.add_argument(
        "--data-free",
        action="store_true",
        default=None,
        help="without data: make inputs from what the model's batch normalisations remember",
    )
    command.add_argument(
        "--input-range",
        action="append",
        default=[],
        type=input_range,
        metavar="NAME=LOW,HIGH",
        help="with --data-free: the values that an input takes, such as x=0,255; once per input",
    )
    command.add_argument("-o", "--out", required=True, metavar="OUT/", help="the folder to write")
    choices = command.add_argument_group("quantization")
    choices.add_argument(
        "--weights",
        type=weights,
        metavar="BITS|FORMAT",
        help="2 to 8 bits, or ternary, codebook16, codebook4, powers, power-sums, e4m3, e5m2, e3m2, e2m3, e2m1, "
        "or mixed: chosen layer by layer, for the budgets; default: the target's first",
    )
    choices.add_argument(
        "--activations",
        type=activations,
        metavar="BITS",
        help="bits, or mixed: chosen one by one, for the budgets; default: the target's first",
    )
    add_choices(choices)
    choices.add_argument(
        "--kernel",
        action="append",
        default=None,
        metavar="NAME=FAMILY",
        help="the kernel of an operation of the integer graph, or a family that comes first wherever it can serve; may "
        "be given again",
    )
    add_budgets(command)
    recipe = command.add_argument_group("pipeline")
    how = recipe.add_mutually_exclusive_group()
    how.add_argument("--pipeline", metavar="TEXT", help="name,name{option=value,...}: in place of the default passes")
    how.add_argument(
        "--recipe", metavar="FILE.toml", help="pipeline and options from a file; options given here come before it"
    )
    add_input_shape(recipe)
    add_seed(recipe)
    recipe.add_argument(
        "--verify-each", action="store_true", help="run the float graph after every pass, and stop if a pass moved it"
    )
    recipe.add_argument(
        "--no-explain", dest="explain", action="store_false", help="do not measure what rounding each layer costs"
    )
    recipe.add_argument("--dump-dir", metavar="DIR", help="write the model after every pass into this folder")


def add_budgets(command: argparse.ArgumentParser) -> None:
    """What the result must keep to, and what mixed bits are chosen by."""
    group = command.add_argument_group("budgets and mixed bits")
    group.add_argument(
        "--budget",
        action="append",
        default=[],
        type=budget,
        metavar="NAME=LIMIT",
        help="flash=64KiB (constants and code), ram=32KiB (activations at the fullest step), "
        "bops=2G, cycles=20M, luts=20k, mean-weight-bits=3, mean-activation-bits=4; mixed bits are chosen for it, "
        "others checked. With mixed bits, default: the target's flash and ram",
    )
    group.add_argument(
        "--max-loss",
        type=points,
        metavar="POINTS",
        help="with mixed bits: the cheapest that, rounded to nearest, without learning, are expected to lose so much "
        "accuracy on the calibration samples, were labels drawn from the float model's own probabilities",
    )
    group.add_argument(
        "--allocation", type=allocation, metavar="FILE.json", help="bits by name, or the manifest of a mixed compile"
    )
    add_sensitivity(group)


def run(options: argparse.Namespace) -> int:
    """Compile, and print what was gained and lost."""
    from bitsmith.callbacks import Record
    from bitsmith.driver import compile
    from bitsmith.recipe import Recipe
    from bitsmith.summary import summary

    given = recipe_given(options)
    recipe = given if options.recipe is None else Recipe.read(options.recipe).overridden(given)
    progress = progress_for(options, "read the model")
    seconds: list[dict[str, object]] = []

    def tell(record: Record) -> None:
        happened = record.changes.made or record.changes.refused or record.seconds > WORTH_A_LINE
        if isinstance(progress, ProgressLine) and progress.is_shown and happened:
            progress.write(f"  {record.one.name:<22}{record.changes!s:<28}{duration(record.seconds):>10}")
        seconds.append({"pass": str(record.one), "seconds": record.seconds})

    out = Path(options.out)
    with _interrupts_told(out, options.dump_dir):
        artifact = compile(
            options.model,
            target=options.target,
            calibration=options.calibration,
            out=out,
            recipe=recipe,
            verify_each=options.verify_each,
            dump_dir=None if options.dump_dir is None else Path(options.dump_dir),
            explain=options.explain,
            progress=progress,
            tell=tell,
        )
    result = {"folder": options.out, **artifact.manifest, "seconds": seconds}
    say(options, summary(artifact.manifest, out), result)
    return 0


@contextmanager
def _interrupts_told(out: Path, dump_dir: str | None) -> Iterator[None]:
    """Say what an interrupt within leaves in the folder: a compile that was all but over is not taken back."""
    before = _identity(out)
    try:
        yield
    except KeyboardInterrupt as stop:
        if _identity(out) != before:
            raise KeyboardInterrupt(f"interrupted; {out}/ was written already, and is whole") from stop
        if dump_dir is not None:
            kept = f"{out}/ is as it was, {dump_dir}/ holds the passes so far"
            raise KeyboardInterrupt(f"interrupted; {kept}") from stop
        raise


def _identity(folder: Path) -> int | None:
    """What tells a folder from another of that name, which takes its place as a whole."""
    try:
        return folder.stat().st_ino
    except OSError:
        return None


COMMANDS = (("compile", "compile a float model into an integer artifact", add_options, run),)
