"""QONNX models, as Brevitas and QKeras export them, held to qonnx's own executor."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from bitsmith.errors import UnsupportedError
from bitsmith.execution.interpreter import run as interpret
from bitsmith.execution.reals import dequantize_outputs, quantize_inputs
from bitsmith.importing.quantized.executable import executable
from bitsmith.ir.integer import Conv, Linear
from bitsmith.metrics import decibels
from tests.compiler.importing.quantized.sketches import QONNX, QuantizedSketch, adopted, held_to_the_file, kinds
from tests.sketch import normal, run

Array = npt.NDArray[Any]


def executed_by_qonnx(model: onnx.ModelProto, x: Array) -> Array:
    """What qonnx makes of a model at the batch of x."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = len(x)
    shaped = ModelWrapper(fixed).transform(InferShapes())
    made: Array = execute_onnx(shaped, {"x": x})[model.graph.output[0].name]
    return made


def narrow_network(bits: int, power_of_two: bool) -> onnx.ModelProto:
    """Conv, Relu, MaxPool, Conv with a residual and a dense layer whose output is left in float."""
    sketch = QuantizedSketch(x=("N", 3, 8, 8))
    step = 0.25 if power_of_two else 0.21
    x = sketch.quant("x", 2.0**-5, 8)
    scales = step * np.array([1, 0.5, 0.25, 2, 1], np.float32).reshape(5, 1, 1, 1) / 2**bits
    weight = sketch.quant(0.2 * normal(5, 3, 3, 3), scales, bits, narrow=1)
    conv = sketch.add("Relu", sketch.add("Conv", x, weight, 0.3 * normal(5), pads=[1, 1, 1, 1]))
    first = sketch.quant(conv, step / 4, bits + 2, signed=0)
    pooled = sketch.add("MaxPool", first, kernel_shape=[2, 2], strides=[2, 2])
    second = sketch.quant(0.2 * normal(5, 5, 3, 3), np.float32(step / 8), bits)
    bias = sketch.quant(0.3 * normal(5), np.float32(step / 8 * step / 4), 16)
    left = sketch.quant(sketch.add("Conv", pooled, second, bias, pads=[1, 1, 1, 1]), step / 4, bits + 2, narrow=1)
    # Twice the scale of its operands would make every other sum a tie, which rounds to even there and up here.
    total = sketch.quant(sketch.add("Add", left, pooled), step / 8, 8)
    flat = sketch.add("Flatten", total)
    dense = sketch.quant(0.3 * normal(80, 6), np.full((1, 6), step / 8, np.float32), bits)
    return sketch.quantized(sketch.add("MatMul", flat, dense, outputs=["y"]))


@pytest.mark.parametrize("power_of_two", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 6])
def test_networks_of_few_bits(bits: int, power_of_two: bool) -> None:
    model = narrow_network(bits, power_of_two)
    graph, _ = held_to_the_file(model, samples=8, steps=None)
    assert kinds(graph) == ["Conv", "MaxPool", "Conv", "Add", "Reshape", "Linear"]
    assert isinstance(graph.operations[0], Conv)
    assert graph.operations[0].weight_format.type.bits == bits
    assert graph.values[graph.operations[0].output].format.bits == bits + 2
    x = 2 * normal(8, 3, 8, 8, seed=5)
    wanted = executed_by_qonnx(model, x)
    ours = dequantize_outputs(graph, interpret(graph, quantize_inputs(graph, {"x": x})))["y"]
    # What is left are ties in the convolutions; a wrong scale or zero point would leave less than 20 dB.
    assert decibels(float(np.square(wanted).sum()), float(np.square(ours - wanted).sum())) > 30
    np.testing.assert_allclose(run(executable(model), x=x)[0], wanted, rtol=0, atol=1e-4)


def test_weights_of_one_bit_and_activations_of_few() -> None:
    sketch = QuantizedSketch(x=("N", 12))
    weight = sketch.add("BipolarQuant", normal(12, 4), 0.125, domain=QONNX)
    made = sketch.add("MatMul", sketch.quant("x", 0.25, 3), weight)
    model = sketch.quantized(sketch.quant(made, 0.06, 8, output="y"))
    graph, found = held_to_the_file(model)
    (linear,) = graph
    assert isinstance(linear, Linear)
    np.testing.assert_array_equal(linear.weight.T, np.where(normal(12, 4) >= 0, 1, -1))
    x = normal(9, 12, seed=8)
    ours = dequantize_outputs(graph, interpret(graph, quantize_inputs(graph, {"x": x})))["y"]
    np.testing.assert_allclose(ours, executed_by_qonnx(model, x), rtol=0, atol=1e-6)
    assert found.dialect == "QONNX"


@settings(max_examples=25)
@given(bits=st.integers(2, 9), signed=st.booleans(), narrow=st.booleans(), scale=st.sampled_from([0.25, 0.3, 1.0]))
def test_quant_in_standard_ops_is_quant(bits: int, signed: bool, narrow: bool, scale: float) -> None:
    sketch = QuantizedSketch(x=("N", 50))
    model = sketch.quantized(sketch.quant("x", scale, bits, output="y", signed=int(signed), narrow=int(narrow)))
    x = 40 * normal(3, 50, seed=bits)
    np.testing.assert_array_equal(run(executable(model), x=x)[0], executed_by_qonnx(model, x))


@pytest.mark.parametrize(
    ("node", "what"),
    [
        ({"rounding_mode": "FLOOR"}, "rounds by FLOOR"),
        ({"bits": 3.5}, "3.5 bits"),
        ({"scale": np.full((1, 12), 0.1)}, "a scale per channel"),
        ({"op": "Trunc"}, "Trunc has no integer form"),
        ({"op": "BipolarQuant"}, "an activation of one bit"),
    ],
)
def test_what_integers_do_not_do_is_refused_by_name(node: dict[str, Any], what: str) -> None:
    sketch = QuantizedSketch(x=("N", 12))
    given_ = {"scale": 0.1, "bits": 4, **node}
    op = given_.get("op", "Quant")
    operands = ("x", np.asarray(given_["scale"], np.float32), 0.0, float(given_["bits"]))
    options = {"signed": 1, "narrow": 0, "rounding_mode": given_.get("rounding_mode", "ROUND")} if op == "Quant" else {}
    x = sketch.add(op, *(operands[:2] if op == "BipolarQuant" else operands), domain=QONNX, **options)
    weight = sketch.quant(normal(12, 4), 0.1, 4)
    model = sketch.quantized(sketch.quant(sketch.add("MatMul", x, weight), 0.1, 8, output="y"))
    with pytest.raises(UnsupportedError) as caught:
        adopted(model)
    assert what in caught.value.what
    assert caught.value.where.startswith(op)
    assert caught.value.fix
