"""`bitsmith search`: many allocations of bits compiled and measured, and the best of each size kept."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bitsmith.cli.options import (
    activations,
    add_choices,
    add_input_shape,
    add_seed,
    add_sensitivity,
    add_target,
    recipe_given,
    weights,
)
from bitsmith.cli.output import progress_for, say
from bitsmith.console import columns, paint

if TYPE_CHECKING:
    from bitsmith.search.results import Results


def add_options(command: argparse.ArgumentParser) -> None:
    """What search takes."""
    command.add_argument("model", metavar="MODEL.onnx", help="a trained float32 model")
    add_target(command)
    command.add_argument("--calibration", required=True, metavar="DATA.npz", help="samples to take ranges of")
    command.add_argument("--data", required=True, metavar="EVAL.npz", help="samples to measure on, with labels y")
    command.add_argument(
        "-o", "--out", required=True, metavar="OUT/", help="the folder to write; a search in it is gone on with"
    )
    what = command.add_argument_group("what is searched")
    what.add_argument(
        "--cost",
        default="flash",
        metavar="NAME",
        help="that accuracy is traded for: flash (the default), ram, bops, cycles, luts, "
        "mean-weight-bits, mean-activation-bits",
    )
    what.add_argument("--weights", type=weights, metavar="BITS|mixed", help="default: mixed, if the cost depends on it")
    what.add_argument(
        "--activations", type=activations, metavar="BITS|mixed", help="default: mixed, if the cost depends on it"
    )
    what.add_argument("--metric", metavar="top1|auc|sqnr", help="default: top1 with labels, else sqnr")
    what.add_argument("--window", metavar="SIZE:STRIDE", help="as `bitsmith evaluate` takes it")
    what.add_argument(
        "--choose-on",
        metavar="FILE.npz",
        help="other samples to compare points on, so that the figures on --data are not flattered by the choice; "
        "without labels, by decibels against the float model",
    )
    how = command.add_argument_group("how points are compiled, as `bitsmith compile` does")
    add_choices(how)
    add_sensitivity(how)
    add_seed(how)
    add_input_shape(how)
    work = command.add_argument_group("how much work, and where")
    work.add_argument("--points", type=_count, default=48, metavar="N", help="to measure in all; default: 48")
    work.add_argument("--seconds", type=_count, metavar="S", help="begin no more points after so long")
    where = work.add_mutually_exclusive_group()
    where.add_argument("--workers", type=_count, metavar="N", help="processes; default: one a core")
    where.add_argument("--cluster", metavar="tcp://HOST:PORT", help="the scheduler of a Dask cluster, to work there")


def run(options: argparse.Namespace) -> int:
    """Search, and print the front."""
    from bitsmith.search.driver import Options, search
    from bitsmith.windows import Window

    wanted = Options(
        cost=options.cost,
        metric=options.metric,
        window=None if options.window is None else Window.parse(options.window),
        points=options.points,
        seconds=options.seconds,
        workers=options.workers,
        cluster=options.cluster,
    )
    try:
        results = search(
            options.model,
            options.target,
            options.calibration,
            options.data,
            options.out,
            recipe=recipe_given(options),
            options=wanted,
            choose_on=options.choose_on,
            progress=progress_for(options, "read the model"),
        )
    except KeyboardInterrupt as stop:
        kept = "the points so far are kept: the same command goes on from them"
        raise KeyboardInterrupt(f"interrupted; {kept}") from stop
    say(options, _lines(results, Path(options.out)), {"folder": options.out, **results.to_json()})
    return 0


def _lines(results: Results, folder: Path) -> list[str]:
    """The front as a table, and how uniform bits compare."""
    from bitsmith.allocation.budgets import shown
    from bitsmith.report.texts import decibels_text
    from bitsmith.search.results import finite

    best = results.front
    title = f"{len(results.points)} points, {len(best)} on the front of {results.metric} against {results.cost}"
    rows = [
        (
            point.name,
            shown(results.cost, point.costs[results.cost]),
            f"{results.metric} {point.reported:.4f}",
            decibels_text(finite(point.decibels)),
        )
        for point in best
    ]
    lines = [paint(f"{title}: {folder}/", "bold"), *columns(rows)]
    if results.float_accuracy is not None:
        lines.append(f"  the float model: {results.metric} {results.float_accuracy:.4f}")
    for point in results.uniform:
        ahead = results.at_size_of(point).best
        lines.append(
            f"  {point.candidate.said}: {results.metric} {point.reported:.4f} at "
            f"{shown(results.cost, point.costs[results.cost])}; for no more, {ahead.reported:.4f} ({ahead.name})"
        )
    lines += [f"  not compiled: {name}: {reason}" for name, reason in results.failed.items()]
    return [*lines, f"  {results.note}"]


def _count(text: str) -> int:
    """Read how many."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


COMMANDS = (("search", "trace the front of accuracy against cost, by measuring mixed bits", add_options, run),)
