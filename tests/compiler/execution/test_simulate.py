"""Simulated formats, against the same rounding in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from bitsmith.dataset import Dataset
from bitsmith.execution.runtime import Session
from bitsmith.execution.simulate import divergences, simulated
from bitsmith.importing.load import load_graph
from bitsmith.ir.formats import IntegerType, affine
from tests.sketch import Sketch, normal


def test_weights_without_a_format_stay_as_they_are_between_rounded_activations() -> None:
    """Channels of very different size: one 8-bit grid for the whole weight, which ONNX Runtime would put on it to
    compute in integers, is coarser than some channels are wide."""
    spread = np.geomspace(1e-3, 1.0, 16, dtype=np.float32)
    weight = normal(8, 16) * spread
    sketch = Sketch(x=("N", 8))
    product = sketch.add("Gemm", "x", weight, normal(16, seed=1) * spread)
    graph = load_graph(sketch.model(sketch.add("Relu", product)))
    x = normal(32, 8, seed=2)
    (given,), (made,) = graph.inputs, graph.outputs
    formats = {given.name: affine(-3.0, 3.0, IntegerType(8)), made.name: affine(0.0, 4.0, IntegerType(8))}

    found = next(iter(Session(simulated(graph, formats)).run({given.name: x}).values()))

    rounded = formats[given.name].dequantize(formats[given.name].quantize(x))
    real = np.maximum(rounded @ weight + normal(16, seed=1) * spread, 0)
    wanted = formats[made.name].dequantize(formats[made.name].quantize(real))
    step = formats[made.name].scale[0]
    # A sum in another order may fall on the other side of a tie.
    assert np.count_nonzero(np.abs(found - wanted) > step / 2) <= 2


def test_the_input_of_a_last_softmax_is_compared_where_it_is_rounded_itself() -> None:
    sketch = Sketch(x=("N", 8))
    graph = load_graph(sketch.model(sketch.add("Softmax", sketch.add("Relu", "x"))))
    data = Dataset.from_arrays({"x": normal(32, 8)})
    hidden = graph.outputs[0].producer.operand(0)  # type: ignore[union-attr]

    plans = {str(bits): {hidden.name: affine(0.0, 4.0, IntegerType(bits))} for bits in (2, 8)}
    moved = divergences(graph, plans, data)

    real = np.maximum(normal(32, 8), 0)
    rounded = {name: one.dequantize(one.quantize(real)) for name, plan in plans.items() for one in plan.values()}
    for name, found in rounded.items():
        p, q = (np.exp(values) / np.exp(values).sum(1, keepdims=True) for values in (real, found))
        # Of differences of float32 that are some thousandths.
        assert moved[name] == pytest.approx(float((p * np.log(p / q)).sum(1).mean()), rel=0.01)


@pytest.mark.parametrize("bits", [2, 7, 8, 9, 12, 15, 16])
@pytest.mark.parametrize("lowest", [-1.5, 0.0])
def test_every_width_is_rounded_and_clipped(bits: int, lowest: float) -> None:
    """9 to 15 bits among them, whose integers ONNX Runtime cannot clip; half of the values lie beyond the range."""
    sketch = Sketch(x=("N", 8))
    graph = load_graph(sketch.model(sketch.add("Neg", "x")))
    x = 4 * normal(64, 8)
    (given,) = graph.inputs
    one = affine(lowest, 2.0, IntegerType(bits))

    (found,) = Session(simulated(graph, {given.name: one})).run({given.name: x}).values()

    wanted = one.dequantize(one.quantize(x))
    # Two divisions by one scale may fall on the two sides of a tie.
    assert np.count_nonzero(found != -wanted) <= 2
    assert found.min() == -wanted.max()
    assert found.max() == -wanted.min()
