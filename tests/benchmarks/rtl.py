"""Look-up tables of the jet tagger as RTL, beside plain da4ml on the same integers: one Markdown table.

usage: python -m tests.benchmarks.rtl [--only NAME ...] [--no-yosys] [--write FILE.md]

The model has no data, so inputs are random and nothing is said of accuracy but the signal to noise ratio against the
float model. "Plain" is what one writes in da4ml for the same weights, biases and shifts: matmul, relu, quantize with
rounding and saturation; it must give the same integers on every sample, as must ours. Both are cut into stages of five
adders.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from da4ml.trace import FixedVariableArray, comb_trace, to_pipeline
from da4ml.trace.ops import relu

import bitsmith
from bitsmith.backends.rtl.capabilities import Options
from bitsmith.backends.rtl.design import Design, design
from bitsmith.backends.rtl.emit import sources
from bitsmith.backends.rtl.layout import ports
from bitsmith.backends.rtl.variables import LUTS
from bitsmith.backends.rtl.yosys import Counts, count
from bitsmith.errors import TargetError
from bitsmith.execution.batches import vectors
from bitsmith.execution.interpreter import run
from bitsmith.ir.integer import IntegerGraph, Linear
from bitsmith.recipe import Recipe
from bitsmith.target import load_target
from tests.benchmarks.common import MODELS, markdown, working_folder

MODEL = "jet_mlp_3layer_NODATA"
SAMPLES = 1000


@dataclass(frozen=True)
class Variant:
    """How the model is quantized."""

    name: str
    weights: int | str
    activations: int


VARIANTS = [
    Variant("w4 a4", 4, 4),
    Variant("w6 a6", 6, 6),
    Variant("w4 a6", 4, 6),
    Variant("w6 a4", 6, 4),
    Variant("powers a6", "powers", 6),
    Variant("powers a4", "powers", 4),
    Variant("ternary a6", "ternary", 6),
    Variant("w8 a8", 8, 8),
]


def plain(graph: IntegerGraph, levels: int) -> Design:
    """A chain of Linear operations as one writes it in da4ml."""
    (given,) = graph.inputs
    kind, shape = graph.values[given].format.type, graph.values[given].shape
    x = FixedVariableArray.from_lhs(np.full(shape, kind.lowest), np.full(shape, kind.highest), np.ones(shape), LUTS)
    first = x
    for operation in graph:
        assert isinstance(operation, Linear)
        rule, made = operation.requantize, graph.result(operation).format.type
        multiplier = rule.multiplier.astype(np.float64)
        assert np.array_equal(2.0 ** np.round(np.log2(multiplier)), multiplier)
        assert graph.result(operation).format.zero_point == 0
        x = (x @ operation.weight.T.astype(np.float64) + operation.bias.astype(np.float64)) * (
            multiplier / 2.0**rule.shift
        )
        if rule.lowest == 0:
            x = relu(x)
        signed = int(made.signed)
        x = x.quantize(signed, made.bits - signed, 0, "SAT", "RND")
        assert rule.highest == made.highest
    pipeline = to_pipeline(comb_trace(first, x, keep_dead_inputs=True), levels, verbose=False)
    return Design(pipeline, *ports(graph))


def differing(graph: IntegerGraph, made: Design) -> int:
    """Elements that are not the interpreter's."""
    inputs = vectors(graph, SAMPLES, seed=0)
    found = made.run([inputs[name] for name in graph.inputs])
    expected = run(graph, inputs)
    return sum(int((one != expected[name]).sum()) for name, one in zip(graph.outputs, found, strict=True))


def cells(made: Design, wanted: bool) -> Counts | None:
    """What yosys counts, where it is installed and asked for."""
    try:
        return count(sources(made)) if wanted else None
    except TargetError as fault:
        print(fault, file=sys.stderr)
        return None


def rows(variant: Variant, model: Path, folder: Path, with_yosys: bool) -> list[list[str]]:
    """Two rows: ours and plain da4ml's."""
    recipe = Recipe(weights=variant.weights, activations=variant.activations, data_free=True)
    artifact = bitsmith.compile(model, "rtl", None, folder / "out", recipe=recipe, explain=False)
    graph, levels = artifact.graph, Options.of(load_target("rtl")).levels
    (decibels,) = artifact.manifest["distance"]["sqnr_db"].values()
    made = []
    for name, one in (("bitsmith", design(graph, levels)), ("plain da4ml", plain(graph, levels))):
        found = cells(one, with_yosys)
        row: list[Any] = [variant.name, name, f"{decibels:.1f} dB", f"{one.luts:,}"]
        row += (
            ["", "", "", ""]
            if found is None
            else [f"{found.luts:,}", f"{one.luts / found.luts - 1:+.1%}", f"{found.registers:,}", f"{found.dsps}"]
        )
        made.append([*row, str(one.stages), f"{differing(graph, one)} of {SAMPLES * len(one.fields()):,}"])
        print(" | ".join(made[-1]), file=sys.stderr, flush=True)
    return made


def main() -> None:
    """Compile every variant, trace both circuits, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[one.name for one in VARIANTS])
    parser.add_argument("--no-yosys", action="store_true", help="estimates alone, which take seconds")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    model = MODELS / f"{MODEL}.onnx"
    if not model.is_file():
        sys.exit(f"{model} is not there. Point BITSMITH_MODELS at the folder of shared models.")
    table = []
    for variant in VARIANTS:
        if not options.only or variant.name in options.only:
            with working_folder() as folder:
                table += rows(variant, model, folder, not options.no_yosys)
    header = ["quantized", "by", "signal to noise", "LUTs, estimated", "LUTs, yosys", "estimate is off by"]
    text = markdown([*header, "flip-flops, yosys", "DSPs", "stages", "differ from the interpreter"], table)
    print(text)
    if options.write:
        options.write.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
