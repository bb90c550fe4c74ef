"""Trained networks as FPGA firmware: accuracy and look-up tables by bits, and C simulations held to the integer graph.

usage: python -m tests.benchmarks.fpga [--bits] [--tools] [--only NAME ...] [--write FILE.md]

The first table is of models/digits and mnist_cnn for Vitis: whole evaluation files, compiled with learned rounding,
edges of 8 bits. Its look-up tables are estimates for products that are all there at once and share no adder
(backends/hls4ml/luts.py); "half" has bits by layer chosen for half of what uniform 8 bits take.

The second is of C simulations on vectors with the grid's edges and saturation in them, beside real samples: 1,000, or
48 for the larger networks. Seconds are g++'s, of one core. Weights and activations have 6 bits.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import bitsmith
from bitsmith.backends.hls4ml import Hls4mlBackend
from bitsmith.dataset import Dataset
from bitsmith.errors import BitsmithError
from bitsmith.execution.batches import vectors
from bitsmith.execution.interpreter import run, run_batched
from bitsmith.execution.reals import quantize_inputs
from bitsmith.ir.integer import IntegerGraph
from bitsmith.recipe import Recipe
from bitsmith.target import Target, load_target
from tests.benchmarks.common import MODELS, REPOSITORY, markdown, working_folder

DIGITS = REPOSITORY / "models" / "digits"


@dataclass(frozen=True)
class Model:
    """Its files, and how many vectors its simulations are given."""

    path: Path
    calibration: Path
    evaluation: Path
    vectors: int = 1000

    @classmethod
    def shared(cls, name: str, vectors: int = 1000) -> Model:
        """One of the folder of shared models."""
        return cls(MODELS / f"{name}.onnx", MODELS / f"{name}.calib.npz", MODELS / f"{name}.eval.npz", vectors)


MODELS_BY_NAME = {
    "digits": Model(DIGITS / "digits.onnx", DIGITS / "calibration.npz", DIGITS / "evaluation.npz"),
    "mnist_cnn": Model.shared("mnist_cnn"),
    "dscnn_kws": Model.shared("dscnn_kws", 48),
    "resnet8_cifar10": Model.shared("resnet8_cifar10", 48),
}
SMALL = ("digits", "mnist_cnn")


def accuracy(graph: IntegerGraph, data: Path) -> float:
    """Top-1 over a whole file."""
    samples = opened(graph, data)
    found = [
        run_batched(graph, quantize_inputs(graph, batch))[graph.outputs[0]].argmax(axis=1)
        for batch in samples.batches(200)
    ]
    return float((np.concatenate(found) == samples.labels()).mean())


def opened(graph: IntegerGraph, data: Path) -> Dataset:
    """Samples in a file, as the model takes them."""
    return Dataset.open(data, {name: graph.values[name].shape for name in graph.inputs})


def by_bits(name: str) -> Iterator[list[str]]:
    """A row for each choice of bits."""
    model = MODELS_BY_NAME[name]
    (scored,) = bitsmith.evaluate(model.path, model.evaluation, metric="top1")
    real, full = float(scored.result.value), 0
    choices = {
        "8": lambda: Recipe(weights=8, activations=8),
        "6": lambda: Recipe(weights=6, activations=6),
        "half": lambda: Recipe(weights="mixed", activations="mixed", budgets={"luts": full / 2}),
        "a third": lambda: Recipe(weights="mixed", activations="mixed", budgets={"luts": full / 3}),
    }
    for label, recipe in choices.items():
        with working_folder() as folder:
            made = bitsmith.compile(
                model.path, "hls4ml-vitis", model.calibration, folder / "out", recipe=recipe(), explain=False
            )
            graph = made.graph
        tables = int(made.manifest["costs"]["luts"])
        full = full or tables
        reached = accuracy(graph, model.evaluation)
        layers = [one for one in graph if hasattr(one, "weight_format")]
        bits = [
            " ".join(str(one.weight_format.bits) for one in layers),
            " ".join(str(graph.operands(one)[0].format.bits) for one in layers),
        ]
        lost = f"{100 * (real - reached):+.2f}"
        yield [name, label, *bits, f"{tables:,}", f"{tables / full:.2f}", f"{real:.4f}", f"{reached:.4f}", lost]


def tools() -> Mapping[str, Target]:
    """Targets to simulate, by what they are called here."""
    stream = load_target("hls4ml-vitis-stream")
    return {
        "Vitis": load_target("hls4ml-vitis"),
        "Quartus": load_target("hls4ml-quartus"),
        "Vitis, streamed": stream,
        "Vivado, streamed": replace(stream, name="vivado-stream", options={**stream.options, "tool": "Vivado"}),
    }


def simulated(name: str, tool: str) -> list[str]:
    """What a tool's C simulation of a network takes, and in how many elements it differs."""
    model = MODELS_BY_NAME[name]
    recipe = Recipe(weights=6, activations=6, effort="fast")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with working_folder() as folder:
        try:
            made = bitsmith.compile(
                model.path, tools()[tool], model.calibration, folder / "out", recipe=recipe, explain=False
            )
        except BitsmithError as fault:
            return [name, tool, "", "", str(fault)]
        seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        inputs = vectors(made.graph, model.vectors // 2, seed=3)
        real = quantize_inputs(made.graph, next(opened(made.graph, model.evaluation).batches(model.vectors // 2)))
        given = {key: np.concatenate([inputs[key], real[key]]) for key in inputs}
        found, expected = Hls4mlBackend().run(made.graph, folder / "out", given), run(made.graph, given)
    wrong = sum(int((found[key] != expected[key]).sum()) for key in expected)
    total = sum(array.size for array in expected.values())
    return [name, tool, f"{len(given[made.graph.inputs[0]]):,}", f"{seconds:.0f} s", f"{wrong:,} of {total:,}"]


def main() -> None:
    """Print both tables, or write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bits", action="store_true", help="the first table alone")
    parser.add_argument("--tools", action="store_true", help="the second table alone")
    parser.add_argument("--only", nargs="+", choices=MODELS_BY_NAME, default=list(MODELS_BY_NAME))
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    both = options.bits == options.tools
    tables = []
    if options.bits or both:
        rows = []
        for name in [one for one in SMALL if one in options.only]:
            for row in by_bits(name):
                print(" | ".join(row), file=sys.stderr, flush=True)
                rows.append(row)
        header = ["model", "bits", "of weights, by layer", "of their inputs", "LUTs, estimated", "of 8 bits'", "float"]
        tables.append(markdown([*header, "top-1", "points lost"], rows))
    if options.tools or both:
        rows = []
        for name in options.only:
            for tool in ("Vitis", "Quartus") if name in SMALL else ("Vitis, streamed", "Vivado, streamed"):
                rows.append(simulated(name, tool))
                print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
        tables.append(markdown(["model", "tool", "vectors", "g++", "elements that differ"], rows))
    text = "\n\n".join(tables)
    print(text)
    if options.write:
        said = [part for part in (__doc__ or "").strip().split("\n\n") if not part.startswith("usage")]
        options.write.write_text("# FPGA firmware\n\n" + "\n\n".join([*said, text]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
