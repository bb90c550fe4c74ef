"""Simulated formats, against the same rounding in numpy."""

from __future__ import annotations

import numpy as np

from bitsmith.execution.runtime import Session
from bitsmith.execution.simulate import simulated
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
