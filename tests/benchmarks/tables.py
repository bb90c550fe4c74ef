"""Functions of 16-bit inputs: what tables with all entries take, and what knots with lines between them take.

    python -m tests.benchmarks.tables > tests/benchmarks/tables.md

First a small model with 8-bit weights and 16-bit activations (tests/backends/c/test_interpolated_tables.py: Conv,
HardSwish, Conv, PRelu of four channels, Sigmoid): constants of its C, and its outputs against float, on inputs that no
choice was made on. Then each function over a typical range, at all 65,536 inputs.
"""

from __future__ import annotations

from unittest.mock import patch

import numpy as np

from bitsmith.backends.c import build
from bitsmith.execution.interpreter import run
from bitsmith.importing.load import load_graph
from bitsmith.ir.interpolation import fitted, interpolated
from bitsmith.passes.integerize import tables
from bitsmith.passes.integerize.tables import tabulated
from bitsmith.target import Target
from tests.backends.c.test_interpolated_tables import compiled, model
from tests.compiler.ir.test_elementwise import FORMS, model_of
from tests.compiler.ir.test_interpolation import WHOLE, formats_of, operation_of
from tests.integration.attention import decibels
from tests.sketch import run as run_float


def in_a_model(all_entries: bool) -> list[str]:
    """Bytes of all constants in C, of those of functions, and signal to noise of the outputs."""
    random = np.random.default_rng(5)
    calibration, unseen = (random.normal(0, 1, (32, 3, 10, 10)).astype(np.float32) for _ in range(2))
    if all_entries:
        with patch.object(tables, "fitted", lambda steps, entries: None):
            graph = compiled(calibration, 16, "host")
    else:
        graph = compiled(calibration, 16, "host")
    program = build(graph, Target("host", "c"))
    functions = sum(step.kernel.flash for step in program.steps if "table" in step.kernel.family)
    (name,) = graph.outputs
    made = run(graph, {"x": graph.values["x"].format.quantize(unseen)})[name]
    (exact,) = run_float(model(), x=unseen)
    noise = decibels(exact, graph.values[name].format.dequantize(made))
    return [f"{program.flash:,}", f"{functions:,}", f"{noise:.1f}"]


def of_a_function(op: str, attributes: dict[str, object]) -> list[str]:
    """Bytes, knots, and how many of all inputs have a result a step off their entry."""
    (node,) = load_graph(model_of(op, attributes)).nodes()
    source, result = formats_of(op, attributes, symmetric=False)
    (reals,) = tabulated(node, source.dequantize(np.arange(-32768, 32768)).astype(np.float64))
    entries = result.quantize(reals)[None]
    kept = fitted((reals / result.scale[0] + result.zero_point)[None], entries)
    if kept is None:
        return [f"{WHOLE:,}", "all", "0", "0.0 %"]
    off = np.abs(interpolated(operation_of(kept), np.arange(1 << 16)) - entries[0])
    return [f"{kept.bytes:,}", f"{kept.knots.shape[1]:,}", str(off.max()), f"{100 * (off > 0).mean():.1f} %"]


def main() -> None:
    """Print both tables."""
    print("| model of 8-bit weights, 16-bit activations | bytes of constants | of functions | outputs, dB |")
    print("| --- | --- | --- | --- |")
    for what, all_entries in (("all entries", True), ("knots and lines", False)):
        print(f"| {' | '.join([what, *in_a_model(all_entries)])} |")
    print()
    print(f"| function ({WHOLE:,} bytes as a table) | bytes | knots | most steps off | inputs a step off |")
    print("| --- | --- | --- | --- | --- |")
    for op, attributes in FORMS:
        if not attributes:
            print(f"| {' | '.join([op, *of_a_function(op, attributes)])} |")


if __name__ == "__main__":
    main()
