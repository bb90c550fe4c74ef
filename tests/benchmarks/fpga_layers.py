"""Estimates of hls4ml's look-up tables held to yosys, layer by layer.

usage: python -m tests.benchmarks.fpga_layers [--only NAME ...] [--write FILE.md]

What is estimated and what is synthesised is the arithmetic of a layer for one position of its output: the products of a
window with all filters as shifts and adds, one adder for every signed power of two and none of them shared, the bias,
the rounding and the clamp. hls4ml builds that once a layer, and the positions take turns. Line buffers, queues between
layers, pools, residual additions and control are not in it, and no vendor's tool was asked: one that puts products into
DSPs, or finds common terms, takes fewer tables.

Without sharing, filters are added up, so where a layer is large some of its filters are synthesised, spread evenly, and
what they take is scaled to all. "Shared" is da4ml's estimate for all filters with the adders that they can share.
Bits are those of fpga.md: 8, and mixed ones for half of the tables that 8 bits are estimated to take.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Context, localcontext
from pathlib import Path

import numpy as np
from da4ml.trace import FixedVariable, comb_trace, to_pipeline

from bitsmith.backends.hls4ml.luts import luts as estimated
from bitsmith.backends.rtl import circuit
from bitsmith.backends.rtl.clamp import requantize
from bitsmith.backends.rtl.constants import aligned
from bitsmith.backends.rtl.design import Design
from bitsmith.backends.rtl.emit import sources
from bitsmith.backends.rtl.layout import ports
from bitsmith.backends.rtl.variables import Variables, inputs
from bitsmith.backends.rtl.yosys import count
from bitsmith.ir.integer import Conv, IntegerGraph, Linear, Value
from bitsmith.recipe import Recipe
from bitsmith.target import load_target
from tests.benchmarks.common import markdown
from tests.benchmarks.fpga import MODELS_BY_NAME, SMALL, lowered
from tests.benchmarks.kept_rows import with_kept_rows

SYNTHESISED = 2500
"""Look-up tables to synthesise of a layer, about, but one filter at the least: yosys takes minutes for many."""

HEADER = ["model", "bits", "layer", "weights x inputs, bits", "filters in yosys", "estimated", "yosys"]
HEADER += ["estimate is off by", "shared, estimated"]


def position(graph: IntegerGraph, operation: Conv | Linear) -> IntegerGraph:
    """A layer for one position of its output: a product with all that its window holds."""
    weight = operation.weight
    if isinstance(operation, Conv):
        groups, filters = operation.groups, len(weight)
        parts = weight.reshape(groups, filters // groups, -1)
        whole = np.zeros((groups, filters // groups, groups, parts.shape[2]), weight.dtype)
        whole[np.arange(groups), :, np.arange(groups)] = parts
        weight = whole.reshape(filters, -1)
    rule = replace(operation.requantize, multiplier=operation.requantize.multiplier.reshape(-1))
    values = {
        "x": Value("x", (weight.shape[1],), graph.operands(operation)[0].format),
        "y": Value("y", (len(weight),), graph.result(operation).format),
    }
    made = Linear(operation.name, ("x",), "y", weight, operation.bias, operation.weight_format, rule)
    return IntegerGraph("position", values, ("x",), ("y",), (made,))


def some(graph: IntegerGraph, wanted: int) -> IntegerGraph:
    """The same with so many of its filters, spread evenly."""
    (operation,) = graph.operations
    assert isinstance(operation, Linear)
    kept = np.linspace(0, len(operation.weight) - 1, wanted).round().astype(int)
    cut = replace(operation, weight=operation.weight[kept], bias=operation.bias[kept])
    values = {**graph.values, "y": replace(graph.values["y"], shape=(wanted,))}
    return IntegerGraph(graph.name, values, graph.inputs, graph.outputs, (cut,))


def unshared(graph: IntegerGraph) -> Design:
    """The circuit of a product in which every digit of a weight has an adder of its own."""
    (operation,) = graph.operations
    assert isinstance(operation, Linear)
    with localcontext(Context(prec=circuit.EXACT_DIGITS)):
        x = inputs(graph.values["x"])
        sums: Variables = np.array([_total(x, row) for row in operation.weight.astype(int)], dtype=object)
        made = requantize(operation, sums, operation.bias.astype(np.int64), operation.requantize)
        pipeline = to_pipeline(comb_trace(x, made, keep_dead_inputs=True), 1000, verbose=False)
    return Design(aligned(pipeline), *ports(graph))


def _total(x: Variables, weights: np.ndarray) -> FixedVariable:
    """A tree of additions: terms of like significance first, which keeps adders narrow."""
    terms = [
        (shift, sign, variable)
        for variable, weight in zip(x, weights.tolist(), strict=True)
        for shift, sign in _powers(weight)
    ]
    level = [variable * float(sign << shift) for shift, sign, variable in sorted(terms, key=lambda term: term[0])]
    while len(level) > 1:
        level = [a + b for a, b in zip(level[::2], level[1::2], strict=False)] + level[len(level) // 2 * 2 :]
    return level[0]


def _powers(number: int) -> Iterator[tuple[int, int]]:
    """The signed powers of two of a number's canonical form: exponents and signs."""
    shift = 0
    while number:
        if number & 1:
            digit = 2 - (number & 3)
            yield shift, digit
            number -= digit
        number, shift = number >> 1, shift + 1


@dataclass(frozen=True)
class Row:
    """A layer: what it takes by estimate, by yosys scaled from some filters to all, and with shared adders."""

    name: str
    bits: str
    filters: str
    estimated: float
    counted: float
    shared: float

    def texts(self, model: str, label: str) -> list[str]:
        """Cells of the table."""
        off = f"{self.estimated / self.counted - 1:+.1%}"
        return [
            *(model, label, self.name, self.bits, self.filters),
            *(f"{self.estimated:,.0f}", f"{self.counted:,.0f}", off, f"{self.shared:,.0f}"),
        ]


def measured(graph: IntegerGraph, operation: Conv | Linear) -> Row:
    """One layer."""
    whole = position(graph, operation)
    takes, filters = sum(estimated(whole).values()), len(operation.weight)
    wanted = max(1, min(filters, math.floor(SYNTHESISED / takes * filters)))
    found = count(sources(unshared(some(whole, wanted)))).luts
    # What a part is off by is what the whole is held to.
    part = sum(estimated(some(whole, wanted)).values())
    bits = f"{operation.weight_format.bits} x {graph.operands(operation)[0].format.bits}"
    shared = sum(circuit.luts(whole).values())
    return Row(operation.name, bits, f"{wanted} of {filters}", takes, found * takes / part, shared)


def quantized(name: str) -> Iterator[tuple[str, IntegerGraph]]:
    """The network in 8 bits, and in bits for half of its tables."""
    model, target = MODELS_BY_NAME[name], load_target("hls4ml-vitis")
    assert model.files is not None
    full = 0.0
    for label in ("8", "half"):
        budget = Recipe(weights="mixed", activations="mixed", budgets={"luts": full / 2})
        recipe = Recipe(weights=8, activations=8) if label == "8" else budget
        integer = lowered(model.path, model.files[0], target, recipe)
        full = full or sum(estimated(integer).values())
        yield label, integer


def rows_of(name: str) -> Iterator[list[str]]:
    """Every layer of a network, and their sum."""
    for label, graph in quantized(name):
        found = []
        for operation in graph:
            if isinstance(operation, Conv | Linear):
                found.append(measured(graph, operation))
                yield found[-1].texts(name, label)
        sums = [sum(getattr(row, kind) for row in found) for kind in ("estimated", "counted", "shared")]
        yield Row("all of these", "", "", *sums).texts(name, label)


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SMALL, default=SMALL)
    parser.add_argument("--write", type=Path, help="a file, whose rows that are not measured now stay")
    options = parser.parse_args()
    rows = []
    for name in options.only:
        for row in rows_of(name):
            print(" | ".join(row), file=sys.stderr, flush=True)
            rows.append(row)
    text = markdown(HEADER, with_kept_rows(options.write, HEADER, rows, 3))
    print(text)
    if options.write:
        said = [part for part in (__doc__ or "").strip().split("\n\n") if not part.startswith("usage")]
        options.write.write_text("# FPGA layers\n\n" + "\n\n".join([*said, text]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
