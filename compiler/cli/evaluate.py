"""`bitsmith evaluate`: a metric on labelled data, or the distance to a reference."""

from __future__ import annotations

import argparse
import dataclasses

from bitsmith.cli.options import add_input_shape, shapes_given
from bitsmith.cli.output import progress_for, say
from bitsmith.console import columns


def add_options(command: argparse.ArgumentParser) -> None:
    """What evaluate takes."""
    command.add_argument("model", metavar="MODEL.onnx|OUT/", help="a float model, or a compiled folder")
    command.add_argument("--data", required=True, metavar="EVAL.npz", help="inputs x (or one key per input), labels y")
    command.add_argument(
        "--metric",
        metavar="top1|auc|mse|sqnr",
        help="top1: largest output is the label; auc: ROC AUC of the reconstruction error, or of a score; "
        "mse, sqnr: against --reference, or against y. Default: top1 with labels, else sqnr",
    )
    command.add_argument("--reference", metavar="FLOAT.onnx", help="the float model that mse and sqnr compare with")
    command.add_argument(
        "--window",
        metavar="SIZE:STRIDE",
        help="cut each sample, flattened, into windows of SIZE elements, one every STRIDE; a sample's score is the "
        "mean over its windows",
    )
    add_input_shape(command)


def run(options: argparse.Namespace) -> int:
    """Evaluate, and print a line for each form of the model."""
    from bitsmith.evaluation import evaluate
    from bitsmith.windows import Window

    scores = evaluate(
        options.model,
        options.data,
        options.metric,
        window=None if options.window is None else Window.parse(options.window),
        reference=options.reference,
        input_shapes=shapes_given(options),
        progress=progress_for(options),
    )
    lines = columns([(one.model, str(one.result), f"({one.result.samples} samples)") for one in scores], indent=0)
    say(options, lines, {"scores": [{"model": one.model, **dataclasses.asdict(one.result)} for one in scores]})
    return 0


COMMANDS = (("evaluate", "measure a float model or a compiled folder on data", add_options, run),)
