"""`bitsmith report`: one page that says all there is to say of a compiled folder, or of a search."""

from __future__ import annotations

import argparse

from bitsmith.cli.output import progress_for, say
from bitsmith.errors import PipelineError


def add_options(command: argparse.ArgumentParser) -> None:
    """What report takes."""
    command.add_argument("folder", metavar="OUT/|FRONT/", help="a compiled folder, or that of a search")
    command.add_argument("-o", "--out", metavar="FILE.html", help="where to write the page; default: OUT/report.html")
    accuracy = command.add_argument_group("accuracy, which the folder keeps for the next page")
    accuracy.add_argument("--data", metavar="EVAL.npz", help="measure on these samples, with labels y")
    accuracy.add_argument("--float", metavar="MODEL.onnx", help="measure the model that was compiled, too")
    accuracy.add_argument("--metric", metavar="top1|auc|mse|sqnr", help="default: top1 with labels, else sqnr")
    accuracy.add_argument("--window", metavar="SIZE:STRIDE", help="as `bitsmith evaluate` takes it")


def run(options: argparse.Namespace) -> int:
    """Write the page, and say where it is."""
    from bitsmith.report import write_report
    from bitsmith.report.accuracy import measure
    from bitsmith.windows import Window

    needless = [name for name in ("float", "metric", "window") if getattr(options, name) is not None]
    if options.data is None and needless:
        raise PipelineError(f"--{needless[0]} has no effect without --data", fix="Give --data EVAL.npz.")
    found = None
    if options.data is not None:
        found = measure(
            options.folder,
            options.data,
            options.float,
            options.metric,
            window=None if options.window is None else Window.parse(options.window),
            progress=progress_for(options),
        )
    path = write_report(options.folder, options.out, accuracy=found)
    say(options, [str(path)], {"report": str(path), "accuracy": found})
    return 0


COMMANDS = (("report", "write the report of a compiled folder or a search, one HTML page", add_options, run),)
