"""QOperator models: ops on integers, held to ONNX Runtime's own kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from bitsmith.errors import UnsupportedError
from tests.compiler.importing.quantized.sketches import QuantizedSketch, adopted, held_to_the_file, integers, kinds
from tests.sketch import normal, run

MICROSOFT = "com.microsoft"


class OnIntegers(QuantizedSketch):
    """A sketch whose values are integers, each followed by its scale and zero point."""

    def grid(self, scale: Any, zero_point: int = 0, kind: Any = np.uint8) -> tuple[str, str]:
        """Scale and zero point as operands."""
        return self.hold(np.asarray(scale, np.float32)), self.hold(np.asarray(zero_point, kind))

    def ended(self, x: str, grid: tuple[str, str]) -> onnx.ModelProto:
        """The model with x in float as its output."""
        return self.quantized(self.add("DequantizeLinear", x, *grid, outputs=["y"]))


def test_convolutions_products_and_what_moves_between() -> None:
    sketch = OnIntegers(x=("N", 3, 6, 6))
    first, second, third = sketch.grid(0.02, 120), sketch.grid(0.06, 3), sketch.grid(0.2, 99)
    scales = sketch.hold(np.linspace(0.002, 0.02, 5, dtype=np.float32)), sketch.hold(np.zeros(5, np.int8))
    x = sketch.add("QuantizeLinear", "x", *first)
    bias = sketch.hold(integers(5, low=-2000, high=2000, kind=np.int32))
    weight = sketch.hold(integers(5, 3, 3, 3))
    conv = sketch.add("QLinearConv", x, *first, weight, *scales, *second, bias, pads=[1, 1, 1, 1])
    pooled = sketch.add("MaxPool", conv, kernel_shape=[2, 2], strides=[2, 2])
    flat = sketch.add("Reshape", pooled, sketch.hold(np.array([0, 45])))
    dense = sketch.hold(integers(45, 7)), *sketch.grid(np.float32(0.01), 0, np.int8)
    made = sketch.add("QLinearMatMul", flat, *second, *dense, *third)
    graph, found = held_to_the_file(sketch.ended(made, third))
    assert kinds(graph) == ["Conv", "MaxPool", "Reshape", "Linear"]
    assert found.dialect == "QOperator"
    np.testing.assert_array_equal(graph.operations[0].weight, integers(5, 3, 3, 3))  # type: ignore[attr-defined]


def test_what_onnx_runtime_has_beside_the_standard() -> None:
    sketch = OnIntegers(x=("N", 4, 6, 6))
    one, two, three = sketch.grid(0.02, 128), sketch.grid(0.04, 100), sketch.grid(1 / 256, 0)
    x = sketch.add("QuantizeLinear", "x", *one)
    leaky = sketch.add("QLinearLeakyRelu", x, *one, *two, alpha=0.25, domain=MICROSOFT)
    curved = sketch.add("QLinearSigmoid", leaky, *two, *three, domain=MICROSOFT)
    product = sketch.add("QLinearMul", leaky, *two, curved, *three, *one, domain=MICROSOFT)
    total = sketch.add("QLinearAdd", product, *one, leaky, *two, *two, domain=MICROSOFT)
    joined = sketch.add("QLinearConcat", *two, total, *two, x, *one, axis=1, domain=MICROSOFT)
    average = sketch.add("QLinearGlobalAveragePool", joined, *two, *one, channels_last=0, domain=MICROSOFT)
    flat = sketch.add("Flatten", average)
    dense = sketch.hold(integers(8, 7)), *sketch.grid(np.float32(0.01), 0, np.int8)
    bias = sketch.hold(integers(7, kind=np.int32))
    made = sketch.add("QGemm", flat, *one, *dense, bias, *two, domain=MICROSOFT)
    graph, _ = held_to_the_file(sketch.ended(made, two), samples=64, steps=4)
    assert kinds(graph) == ["Table", "Table", "Mul", "Add", "Table", "Concat", "AveragePool", "Reshape", "Linear"]


@pytest.mark.parametrize("op", ["ConvInteger", "MatMulInteger"])
def test_dynamic_quantization_is_refused(op: str) -> None:
    sketch = OnIntegers(x=("N", 3, 6, 6))
    x, _, zero = sketch.add("DynamicQuantizeLinear", "x", outputs=3)
    shape = (5, 3, 3, 3) if op == "ConvInteger" else (6, 6)
    made = sketch.add(op, x, sketch.hold(integers(*shape)), zero)
    model = sketch.quantized(sketch.add("Cast", made, to=1, outputs=["y"]))
    assert run(model, x=normal(1, 3, 6, 6))
    with pytest.raises(UnsupportedError, match="dynamically"):
        adopted(model)
