"""Which predictor of an allocation's loss ranks allocations as compiling and measuring them does.

Random allocations of bits are compiled as they would ship, with learned rounding, and run over evaluation data. Each
predictor is a `measure-sensitivity` pass, whose losses of single weights and activations are added up. Both are kept
in a folder, and what is there is not measured again.

usage: python -m tests.benchmarks.predictors [--models A,B] [--count 50] [--samples 1000] [--results FOLDER]
           [--write FILE.md] [--plot FILE.png]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from bitsmith.ir.allocation import Allocation
from bitsmith.ir.sensitivity import Sensitivity
from bitsmith.manager import Pipeline
from bitsmith.manifest import write_whole
from bitsmith.module import Module
from tests.benchmarks.allocations import ACTIVATIONS, EVEN, WEIGHTS, Measured, Subject, measured
from tests.benchmarks.common import markdown

MODELS = ("dscnn_kws", "mobilenetv2s_cifar10", "resnet20_cifar10")

WIDTHS = "weights=2+3+4+5+6+8,activations=2+3+4+5+6+8"
PREDICTORS = {
    "direct, plain": f"measure-sensitivity{{method=direct,divergence=plain,{WIDTHS}}}",
    "direct": f"measure-sensitivity{{method=direct,{WIDTHS}}}",
    "second-order": f"measure-sensitivity{{method=second-order,{WIDTHS}}}",
    "reconstruction": f"measure-sensitivity{{method=reconstruction,{WIDTHS}}}",
    "learned, plain": f"measure-sensitivity{{method=learned,divergence=plain,{WIDTHS}}}",
    "learned": f"measure-sensitivity{{method=learned,{WIDTHS}}}",
    "learned, pairs": f"measure-sensitivity{{method=learned,pairs=true,{WIDTHS}}}",
}
BITS = "fewer bits"
"""What knows nothing of the model: the sum of the bits of all weights and activations, counted from above."""

BATCH = 10
"""Allocations of one model before those of the next, so that what is stopped early still covers all."""

Reals = npt.NDArray[np.float64]


def main() -> None:
    """Measure what is not there yet; print the table, or write it; draw the plot."""
    given = _arguments()
    folder = Path(given.results)
    folder.mkdir(parents=True, exist_ok=True)
    subjects = {name: Subject(name, given.samples) for name in given.models.split(",")}
    found: dict[str, list[Measured]] = {}
    for count in range(BATCH, given.count + BATCH, BATCH):
        for name, subject in subjects.items():
            found[name] = measured(subject, min(count, given.count), folder / f"{name}.json")
    predicted, seconds = {}, {}
    for name, subject in subjects.items():
        allocations = [one.allocation for one in found[name]]
        predicted[name] = {BITS: np.array([-_bits(one) for one in allocations], np.float64)}
        seconds[name] = {BITS: 0.0}
        for label, text in PREDICTORS.items():
            sensitivity, seconds[name][label] = _sensitivity(subject, text, folder / f"{name}.sensitivities.json")
            predicted[name][label] = np.array([sensitivity.predicted(one) for one in allocations])
    text = _report(found, predicted, seconds, given.samples)
    if given.plot:
        plot = Path(given.plot)
        _plot(found, predicted, plot)
        text += f"\n\n![Predicted nats against measured decibels; brighter dots are more accurate]({plot.name})"
    if given.write:
        Path(given.write).write_text(text + "\n")
    print(text)


def _sensitivity(subject: Subject, text: str, kept: Path) -> tuple[Sensitivity, float]:
    """What a pass predicts, and the seconds of processor time that it took."""
    key = f"{subject.before},{text}"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    if key not in known:
        base = subject.module
        module = Module(base.graph.copy(), base.target, base.calibration, statistics=base.statistics)
        start = time.process_time()
        Pipeline.parse(text).run(module)
        spent = time.process_time() - start
        known[key] = {"seconds": spent, "sensitivity": module.require_sensitivity().to_json()}
        write_whole(kept, json.dumps(known, indent=1))
        print(f"{kept.stem} {text}: {spent:.1f} s", file=sys.stderr, flush=True)
    return Sensitivity.from_json(known[key]["sensitivity"]), float(known[key]["seconds"])


def _bits(allocation: Allocation) -> int:
    return sum(allocation.weights.values()) + sum(allocation.activations.values())


def _report(
    found: Mapping[str, Sequence[Measured]],
    predicted: Mapping[str, Mapping[str, Reals]],
    seconds: Mapping[str, Mapping[str, float]],
    samples: int,
) -> str:
    """What was measured, and two tables."""
    even = {name: one[:EVEN] for name, one in found.items()}
    return "\n\n".join(
        [
            "# Predictors of what an allocation of bits loses",
            f"Spearman's rank correlation of predicted losses, summed, with what random allocations lose once they are "
            f"compiled with learned rounding: in decibels of the logits, in nats from the float model, and in top-1 "
            f"accuracy, over the first {samples} evaluation samples. Weights of {_listed(WEIGHTS)} bits, activations "
            f"of {_listed(ACTIVATIONS)}. Seconds are of one core. The last two rows say how well what is measured "
            f"ranks accuracies itself, which nothing that predicts it can be expected to better by much.",
            _table(found, predicted, seconds),
            f"The same over the first {EVEN} alone, whose bits are drawn equally often, so that their losses differ "
            "less:",
            _table(even, {name: _first(one) for name, one in predicted.items()}, seconds),
        ]
    )


def _first(predicted: Mapping[str, Reals]) -> dict[str, Reals]:
    return {label: loss[:EVEN] for label, loss in predicted.items()}


def _listed(widths: Sequence[int]) -> str:
    return ", ".join(map(str, widths))


def _table(
    found: Mapping[str, Sequence[Measured]],
    predicted: Mapping[str, Mapping[str, Reals]],
    seconds: Mapping[str, Mapping[str, float]],
) -> str:
    """Spearman's rank correlations with what was measured: with decibels, nats and accuracy."""
    header = ["predictor", *(f"{name} ({len(one)}): dB, nats, top-1; time" for name, one in found.items())]
    labels = list(next(iter(predicted.values())))
    rows = [
        [label, *(f"{_ranks(found[name], predicted[name][label])}; {seconds[name][label]:.0f} s" for name in found)]
        for label in labels
    ]
    for label, measure in (("decibels, measured", _decibels), ("nats, measured", _nats)):
        rows.append([label, *(_ranks(one, measure(one)) for one in found.values())])
    return markdown(header, rows)


def _ranks(found: Sequence[Measured], loss: Reals) -> str:
    lost = (_decibels(found), _nats(found), -np.array([one.top1 for one in found]))
    return ", ".join(f"{spearmanr(loss, measure).statistic:.2f}" for measure in lost)


def _decibels(found: Sequence[Measured]) -> Reals:
    return -np.array([one.sqnr for one in found])


def _nats(found: Sequence[Measured]) -> Reals:
    return np.array([one.nats for one in found])


def _plot(found: Mapping[str, Sequence[Measured]], predicted: Mapping[str, Mapping[str, Reals]], path: Path) -> None:
    """Predicted sums against measured noise, an allocation a dot: models down, predictors across."""
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(
        len(found), len(PREDICTORS), figsize=(2.6 * len(PREDICTORS), 2.5 * len(found)), squeeze=False, sharey="row"
    )
    for row, (name, one) in zip(grid, found.items(), strict=True):
        for axes, label in zip(row, PREDICTORS, strict=True):
            loss = predicted[name][label]
            axes.scatter(loss, -_decibels(one), s=9, c=[each.top1 for each in one], cmap="viridis")
            axes.set_xscale("log")
            axes.set_title(f"{label}: {spearmanr(loss, _decibels(one)).statistic:.2f}", fontsize=9)
            axes.tick_params(labelsize=7)
        row[0].set_ylabel(f"{name}\nmeasured dB", fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("predicted nats", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--count", type=int, default=50, help="allocations a model")
    parser.add_argument("--samples", type=int, default=1000, help="of the evaluation data, from the first")
    parser.add_argument("--results", default="build/predictors", help="folder of what was measured")
    parser.add_argument("--write", help="a Markdown file for the table")
    parser.add_argument("--plot", help="an image file for the plot; needs matplotlib")
    return parser.parse_args()


if __name__ == "__main__":
    main()
