"""QDQ models, as the tools write them, become integer graphs that compute what ONNX Runtime makes of the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bitsmith.errors import ModelError, UnsupportedError, VerificationError
from bitsmith.fidelity import compare
from bitsmith.importing.quantized.load import is_quantized, load_quantized
from bitsmith.ir.integer import Conv, Linear, Table
from bitsmith.legality import check
from tests.compiler.importing.quantized.sketches import QuantizedSketch, adopted, held_to_the_file, integers, kinds
from tests.sketch import Sketch, normal

PER_CHANNEL = np.linspace(0.002, 0.02, 5, dtype=np.float32)


def convolution(sketch: QuantizedSketch, x: str, channels: int = 3, *, step: float = 0.02, **attributes: Any) -> str:
    """A Conv with five outputs of 3x3, int8 weights per channel and an int32 bias."""
    weight = sketch.weight(integers(5, channels, 3, 3), PER_CHANNEL)
    bias = sketch.weight(integers(5, low=-2000, high=2000, kind=np.int32), step * PER_CHANNEL)
    return str(sketch.add("Conv", x, weight, bias, pads=[1, 1, 1, 1], kernel_shape=[3, 3], **attributes))


def test_a_quantized_model_is_told_from_a_float_one() -> None:
    sketch = Sketch(x=("N", 4))
    assert not is_quantized(sketch.model(sketch.add("Relu", "x")))
    quantized = QuantizedSketch(x=("N", 4))
    assert is_quantized(quantized.quantized(quantized.rounded("x", 0.1)))


def test_integers_of_the_file_are_those_of_the_graph() -> None:
    sketch = QuantizedSketch(x=("N", 3, 6, 6))
    made = sketch.add("Relu", convolution(sketch, sketch.rounded("x", 0.02)))
    graph, _ = held_to_the_file(sketch.quantized(sketch.rounded(made, 0.05, -128, output="y")))
    (conv,) = graph
    assert isinstance(conv, Conv)
    np.testing.assert_array_equal(conv.weight, integers(5, 3, 3, 3))
    np.testing.assert_array_equal(conv.bias, integers(5, low=-2000, high=2000, kind=np.int32))
    assert conv.weight_format.scale == tuple(PER_CHANNEL.tolist())
    assert graph.values["x"].format.scale == (float(np.float32(0.02)),)
    assert (graph.values["y"].format.zero_point, conv.requantize.lowest) == (-128, -128)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16])
def test_unsigned_integers_become_signed_ones_on_the_same_grid(kind: Any) -> None:
    sketch = QuantizedSketch(opset=21, ir_version=10, x=("N", 3, 6, 6))
    made = convolution(sketch, sketch.rounded("x", 0.02, 7, kind))
    graph, _ = held_to_the_file(sketch.quantized(sketch.rounded(made, 0.05, 3, kind, "y")))
    shift = 0 if np.dtype(kind).kind == "i" else 1 << (8 * np.dtype(kind).itemsize - 1)
    assert graph.values["x"].format.zero_point == 7 - shift
    assert graph.values["x"].format.type.signed


def test_weights_of_four_bits() -> None:
    sketch = QuantizedSketch(opset=21, ir_version=10, x=("N", 8))
    weight = sketch.weight(integers(8, 5, low=-8, high=7).astype(ml_dtypes.int4), PER_CHANNEL, axis=1)
    made = sketch.add("MatMul", sketch.rounded("x", 0.02), weight)
    graph, _ = held_to_the_file(sketch.quantized(sketch.rounded(made, 0.01, output="y")))
    (linear,) = graph
    assert isinstance(linear, Linear)
    assert linear.weight_format.type.bits == 4
    np.testing.assert_array_equal(linear.weight.T, integers(8, 5, low=-8, high=7))


def test_weights_in_float_behind_quantizers_of_their_own() -> None:
    sketch = QuantizedSketch(x=("N", 8))
    scales, zeros = sketch.hold(PER_CHANNEL), sketch.hold(np.zeros(5, np.int8))
    rounded = sketch.add("QuantizeLinear", 0.3 * normal(5, 8), scales, zeros, axis=0)
    weight = sketch.add("DequantizeLinear", rounded, scales, zeros, axis=0)
    made = sketch.add("Gemm", sketch.rounded("x", 0.02), weight, normal(5), transB=1, alpha=0.5, beta=2.0)
    graph, _ = held_to_the_file(sketch.quantized(sketch.rounded(made, 0.05, output="y")))
    (linear,) = graph
    assert isinstance(linear, Linear)
    wanted = np.clip(np.rint(0.3 * normal(5, 8) / PER_CHANNEL[:, None]), -128, 127)
    np.testing.assert_array_equal(linear.weight, wanted)
    np.testing.assert_allclose(linear.weight_format.scale, PER_CHANNEL / 2, rtol=1e-6)


def test_quantizers_in_front_of_ops_alone_and_normalisation_in_float() -> None:
    """As NNCF and ModelOpt leave it: Conv, BatchNormalization, Relu, MaxPool, and a quantizer for whoever reads."""
    sketch = QuantizedSketch(x=("N", 3, 8, 8))
    conv = convolution(sketch, sketch.rounded("x", 0.02))
    statistics = (normal(5, seed=3), normal(5, seed=4), 0.1 * normal(5, seed=5), np.full(5, 0.7, np.float32))
    normalised = sketch.add("BatchNormalization", conv, *statistics)
    pooled = sketch.add("MaxPool", sketch.add("Relu", normalised), kernel_shape=[2, 2], strides=[2, 2])
    left = convolution(sketch, sketch.rounded(pooled, 0.03, -128), 5, step=0.03)
    right = sketch.rounded(sketch.add("Flatten", sketch.rounded(pooled, 0.03, -128)), 0.03, -128, output="z")
    graph, _ = held_to_the_file(sketch.quantized(sketch.rounded(left, 0.05, output="y"), right))
    assert kinds(graph) == ["Conv", "MaxPool", "Conv", "Reshape"]


def test_an_output_in_float_gets_a_grid_over_all_that_it_can_reach() -> None:
    sketch = QuantizedSketch(x=("N", 8))
    weight = sketch.weight(integers(8, 5), 0.01, axis=1)
    made = sketch.add("Gemm", sketch.rounded("x", 0.02), weight, normal(5), outputs=["y"])
    graph, module, _ = adopted(sketch.quantized(made))
    assert module.adopted is not None
    assert module.adopted.derived == ("y",)
    reach = (np.abs(integers(8, 5).astype(np.float64)).sum(0) * 0.01 * 128 * 0.02 + np.abs(normal(5))).max()
    assert graph.values["y"].format.scale[0] == pytest.approx(reach / 32767, rel=1e-6)
    held_to_the_file(sketch.quantized(made))


@pytest.mark.parametrize("clamp", ["", "Relu", "Clip"])
def test_a_scale_per_channel_in_front_of_a_depthwise_convolution(clamp: str) -> None:
    """As NNCF has it, and a float output behind a Flatten."""
    sketch = QuantizedSketch(x=("N", 3, 6, 6))
    made = convolution(sketch, sketch.rounded("x", 0.02))
    bounds = (0.0, 1.7) if clamp == "Clip" else ()
    made = sketch.add(clamp, made, *bounds) if clamp else made
    made = sketch.rounded(made, np.linspace(0.005, 0.05, 5), -100)
    weight = sketch.weight(integers(10, 1, 3, 3, seed=3), np.linspace(0.01, 0.02, 10))
    deep = sketch.add("Conv", made, weight, normal(10), group=5, kernel_shape=[3, 3])
    graph, _ = held_to_the_file(sketch.quantized(sketch.add("Flatten", deep, outputs=["y"])), steps=40)
    assert kinds(graph) == ["Conv", "Conv", "Reshape"]
    first, second = graph.operations[:2]
    assert isinstance(first, Conv)
    assert isinstance(second, Conv)
    np.testing.assert_array_equal(first.weight, integers(5, 3, 3, 3))
    np.testing.assert_array_equal(second.weight, integers(10, 1, 3, 3, seed=3))


def test_a_scale_per_channel_elsewhere_is_refused() -> None:
    sketch = QuantizedSketch(x=("N", 3, 6, 6))
    made = sketch.rounded(convolution(sketch, sketch.rounded("x", 0.02)), np.linspace(0.005, 0.05, 5))
    weight = sketch.weight(integers(4, 5, 3, 3, seed=3), 0.01)
    model = sketch.quantized(sketch.rounded(sketch.add("Conv", made, weight), 0.1, output="y"))
    with pytest.raises(UnsupportedError, match="not depthwise convolutions alone"):
        adopted(model)


def test_a_bias_beyond_its_accumulator_next_to_weights_that_hardly_matter() -> None:
    sketch = QuantizedSketch(x=("N", 8))
    scales = np.array([0.01, 1e-9, 0.02, 0.01, 0.01], np.float32)
    weight = sketch.weight(integers(5, 8), scales)
    made = sketch.add("Gemm", sketch.rounded("x", 0.02), weight, 3 * normal(5) + 1, transB=1)
    graph, _ = held_to_the_file(sketch.quantized(sketch.rounded(made, 0.05, output="y")))
    (linear,) = graph
    assert isinstance(linear, Linear)
    np.testing.assert_array_equal(np.delete(linear.weight, 1, axis=0), np.delete(integers(5, 8), 1, axis=0))
    assert np.abs(linear.bias).max() <= 1 << 30


def test_values_on_two_grids_go_through_a_table() -> None:
    sketch = QuantizedSketch(x=("N", 4), w=("N", 4))
    joined = sketch.add("Concat", sketch.rounded("x", 0.02), sketch.rounded("w", 0.05, 11), axis=1)
    graph, _ = held_to_the_file(sketch.quantized(sketch.rounded(joined, 0.03, -5, output="y")))
    assert kinds(graph) == ["Table", "Table", "Concat"]


def test_what_is_rounded_twice_in_the_file_is_rounded_twice() -> None:
    """A product, rounded, then its bias; a sum, rounded, then clamped on a finer grid."""
    sketch = QuantizedSketch(x=("N", 6, 8))
    weight = sketch.weight(integers(8, 5), PER_CHANNEL, axis=1)
    product = sketch.rounded(sketch.add("MatMul", sketch.rounded("x", 0.02), weight), 0.2)
    bias = sketch.weight(integers(5), 0.01)
    total = sketch.rounded(sketch.add("Add", product, bias), 0.25)
    graph, _ = held_to_the_file(sketch.quantized(sketch.rounded(sketch.add("Relu", total), 0.1, -128, output="y")))
    assert kinds(graph) == ["Linear", "Reshape", "Add", "Reshape", "Table"]


def test_a_relu_between_quantizers_of_one_grid_is_a_clamp() -> None:
    sketch = QuantizedSketch(x=("N", 3, 6, 6))
    conv = sketch.rounded(convolution(sketch, sketch.rounded("x", 0.02)), 0.05, 4)
    made = sketch.rounded(sketch.add("Relu", conv), 0.05, 4, output="y")
    graph, _ = held_to_the_file(sketch.quantized(made))
    assert kinds(graph) == ["Conv"]
    assert graph.operations[0].requantize.lowest == 4  # type: ignore[attr-defined]


def test_residuals_averages_and_functions() -> None:
    sketch = QuantizedSketch(x=("N", 5, 6, 6))
    x = sketch.rounded("x", 0.02)
    conv = sketch.rounded(convolution(sketch, x, 5), 0.05, 9)
    total = sketch.rounded(sketch.add("Relu", sketch.add("Add", conv, x)), 0.04, -128)
    curved = sketch.rounded(sketch.add("Sigmoid", total), 1 / 256, -128)
    product = sketch.rounded(sketch.add("Mul", total, curved), 0.04, -120)
    average = sketch.rounded(sketch.add("GlobalAveragePool", product), 0.01, -100)
    flat = sketch.rounded(sketch.add("Flatten", average), 0.01, -100, output="y")
    graph, _ = held_to_the_file(sketch.quantized(flat), steps=6)
    assert kinds(graph) == ["Conv", "Add", "Table", "Mul", "AveragePool", "Reshape"]


def test_fewer_bits_in_a_wider_type() -> None:
    """As Brevitas' QCDQ export has them: QuantizeLinear, Clip, DequantizeLinear."""
    sketch = QuantizedSketch(x=("N", 8))
    scale, zero = sketch.hold(np.float32(0.25)), sketch.hold(np.int8(0))
    wide = sketch.add("QuantizeLinear", "x", scale, zero)
    low, high = sketch.hold(np.int8(-8)), sketch.hold(np.int8(7))
    x = sketch.add("DequantizeLinear", sketch.add("Clip", wide, low, high), scale, zero)
    narrow = sketch.add("Clip", sketch.hold(integers(8, 5, low=-9, high=9)), sketch.hold(np.int8(-2)), low7(sketch))
    weight = sketch.add("DequantizeLinear", narrow, sketch.hold(np.float32(0.1)), zero)
    made = sketch.rounded(sketch.add("MatMul", x, weight), 0.1, output="y")
    graph, _ = held_to_the_file(sketch.quantized(made))
    (linear,) = graph
    assert isinstance(linear, Linear)
    assert graph.values["x"].format.bits == 4
    assert linear.weight_format.type.bits == 2
    np.testing.assert_array_equal(linear.weight.T, np.clip(integers(8, 5, low=-9, high=9), -2, 1))


def low7(sketch: QuantizedSketch) -> str:
    return sketch.hold(np.int8(1))


def test_an_int8_tflite_as_tf2onnx_writes_it() -> None:
    """Channels last at the ends, a batch of 1, weights per channel along axis 0, a dense layer by a transposed one."""
    sketch = QuantizedSketch(x=(1, 8, 8, 3))
    x = sketch.add("Transpose", sketch.rounded("x", 0.02, -3), perm=[0, 3, 1, 2])
    conv = sketch.add("Clip", convolution(sketch, x, strides=[2, 2]), 0.0, 6.0)
    conv = sketch.rounded(conv, 6 / 255, -128)
    flat = sketch.add("Transpose", conv, perm=[0, 2, 3, 1])
    flat = sketch.add("Reshape", flat, sketch.hold(np.array([1, 80])))
    dense = sketch.add("Transpose", sketch.weight(integers(7, 80, seed=2), 0.004), perm=[1, 0])
    bias = sketch.weight(integers(7, kind=np.int32, seed=4), np.float32(6 / 255) * np.float32(0.004))
    made = sketch.rounded(sketch.add("Add", sketch.add("MatMul", flat, dense), bias), 0.1, 12)
    probabilities = sketch.rounded(sketch.add("Softmax", made, axis=-1), 1 / 256, -128, output="y")
    graph, module, _ = adopted(sketch.quantized(probabilities))
    assert kinds(graph)[-1] == "Linear"
    assert [step.op for step in graph.host] == ["Softmax"]
    assert module.adopted is not None
    reals = {"x": 2 * normal(5, 8, 8, 3)}
    quantized = load_quantized(sketch.quantized(probabilities))
    found = compare(quantized.original, quantized.quantizers, module.adopted, graph, reals)
    found.require()
    assert {"y"} <= set(found.operations)
    assert found.outputs["y"].elements == 35


def test_inputs_and_outputs_in_integers() -> None:
    sketch = QuantizedSketch(x=("N", 8))
    scale, zero = sketch.hold(np.float32(0.02)), sketch.hold(np.uint8(120))
    sketch.inputs["x"] = helper.make_tensor_value_info("x", TensorProto.UINT8, ("N", 8))
    made = sketch.add(
        "MatMul", sketch.add("DequantizeLinear", "x", scale, zero), sketch.weight(integers(8, 5), 0.01, axis=1)
    )
    sketch.add("QuantizeLinear", made, sketch.hold(np.float32(0.1)), sketch.hold(np.uint8(100)), outputs=["y"])
    model = sketch.quantized("y")
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    graph, module, quantized = adopted(model)
    assert graph.values["x"].format.zero_point == -8
    assert module.adopted is not None
    found = compare(quantized.original, quantized.quantizers, module.adopted, graph, {"x": normal(16, 8)})
    found.require()
    assert found.outputs["y"].elements == 80


def test_an_input_in_integers_that_is_moved_before_it_is_read() -> None:
    """As tf2onnx writes a TFLite file with an input in int8, whose channels come last."""
    sketch = QuantizedSketch(x=("N", 4, 2))
    sketch.inputs["x"] = helper.make_tensor_value_info("x", TensorProto.INT8, ("N", 4, 2))
    moved = sketch.add("Transpose", "x", perm=[0, 2, 1])
    flat = sketch.add("Reshape", moved, sketch.hold(np.array([-1, 8])))
    read = sketch.add("DequantizeLinear", flat, sketch.hold(np.float32(0.02)), sketch.hold(np.int8(5)))
    made = sketch.add("MatMul", read, sketch.weight(integers(8, 5), 0.01, axis=1))
    graph, module, quantized = adopted(sketch.quantized(sketch.rounded(made, 0.1, output="y")))
    assert (graph.values["x"].format.scale, graph.values["x"].format.zero_point) == ((np.float32(0.02),), 5)
    assert module.adopted is not None
    found = compare(quantized.original, quantized.quantizers, module.adopted, graph, {"x": normal(16, 4, 2)})
    found.require()
    assert found.outputs["y"].elements == 80


def test_a_bias_of_its_own_node_has_a_scale_per_channel() -> None:
    """As tf2onnx writes a dense layer whose weights have a scale per output."""
    sketch = QuantizedSketch(x=("N", 8))
    scales = np.array([0.01, 0.02, 0.005, 0.01, 0.03], np.float32)
    made = sketch.add("MatMul", sketch.rounded("x", 0.02), sketch.weight(integers(8, 5), scales, axis=1))
    bias = sketch.weight(integers(5, kind=np.int32, seed=4), scales * np.float32(0.02))
    graph, _ = held_to_the_file(sketch.quantized(sketch.rounded(sketch.add("Add", made, bias), 0.1, output="y")))
    (linear,) = graph
    assert isinstance(linear, Linear)
    np.testing.assert_array_equal(linear.bias, integers(5, kind=np.int32, seed=4))


def test_an_operand_of_a_sum_in_float() -> None:
    """As ModelOpt leaves a residual, whose sum TensorRT adds to the accumulator itself."""
    sketch = QuantizedSketch(x=("N", 5, 6, 6))
    x = sketch.rounded("x", 0.02)
    inner = convolution(sketch, x, 5)
    made = sketch.rounded(sketch.add("Relu", sketch.add("Add", x, inner)), 0.02, output="y")
    graph, module, quantized = adopted(sketch.quantized(made))
    assert kinds(graph) == ["Conv", "Add"]
    assert module.adopted is not None
    assert module.adopted.derived == (inner,)
    assert graph.values[inner].format.bits == 16
    held_to_the_file(quantized.original)


def test_a_scale_per_channel_of_another_operand_is_refused_by_name() -> None:
    sketch = QuantizedSketch(x=("N", 5))
    weight = sketch.weight(integers(5), np.array([0.01, 0.02, 0.005, 0.01, 0.03], np.float32), axis=0)
    made = sketch.rounded(sketch.add("Add", sketch.rounded("x", 0.02), weight), 0.1, output="y")
    with pytest.raises(UnsupportedError, match=r"constant operand .* has a scale per channel"):
        adopted(sketch.quantized(made))


def test_an_operation_that_does_something_else_is_found() -> None:
    sketch = QuantizedSketch(x=("N", 3, 6, 6))
    made = convolution(sketch, sketch.rounded("x", 0.02))
    graph, module, quantized = adopted(sketch.quantized(sketch.rounded(made, 0.05, output="y")))
    assert module.adopted is not None
    broken = load_quantized(quantized.original).original
    for tensor in broken.graph.initializer:
        if tensor.data_type == TensorProto.INT32 and onnx.numpy_helper.to_array(tensor).any():
            moved = onnx.numpy_helper.to_array(tensor) + 40
            tensor.CopyFrom(onnx.numpy_helper.from_array(moved.astype(np.int32), tensor.name))
    found = compare(broken, quantized.quantizers, module.adopted, graph, {"x": normal(16, 3, 6, 6)})
    assert found.operations["y"].largest == 1
    with pytest.raises(VerificationError, match="for another reason than rounding"):
        found.require()


def test_tables_round_to_the_nearest() -> None:
    sketch = QuantizedSketch(x=("N", 300))
    made = sketch.add("LeakyRelu", sketch.rounded("x", 0.02), alpha=0.2)
    graph, found = held_to_the_file(sketch.quantized(sketch.rounded(made, 0.017, -60, output="y")))
    assert isinstance(graph.operations[0], Table)
    assert found.operations["y"].unexplained == 0


def rounded_model(change: str) -> onnx.ModelProto:
    """A model that cannot be taken, for the reason `change`."""
    sketch = QuantizedSketch(opset=21, ir_version=10, x=("N", 8))
    x, weight = "x", integers(8, 5)
    match change:
        case "float input":
            return sketch.quantized(
                sketch.rounded(sketch.add("MatMul", "x", sketch.weight(weight, 0.01)), 0.1, output="y")
            )
        case "scale per channel":
            scales, zeros = sketch.hold(np.full(8, 0.1, np.float32)), sketch.hold(np.zeros(8, np.int8))
            x = sketch.add("DequantizeLinear", sketch.add("QuantizeLinear", "x", scales, zeros), scales, zeros)
        case "dynamic":
            integers_, scale, zero = sketch.add("DynamicQuantizeLinear", "x", outputs=3)
            x = sketch.add("DequantizeLinear", integers_, scale, zero)
        case "scale of 0":
            x = sketch.rounded("x", 0.0)
        case "scale on scale":
            wide = sketch.add("QuantizeLinear", "x", sketch.hold(np.float32(0.1)), sketch.hold(np.int8(0)))
            x = sketch.add("DequantizeLinear", wide, sketch.hold(np.float32(0.2)), sketch.hold(np.int8(0)))
        case _:
            x = sketch.rounded("x", 0.02)
    if change == "asymmetric weight":
        held = sketch.weight(integers(8, 5, low=0, high=255, kind=np.uint8), 0.01, zero_point=90)
    elif change == "weight in float":
        held = sketch.hold(normal(8, 5))
    elif change == "blocks":
        scales = sketch.hold(np.full((2, 5), 0.1, np.float32))
        held = sketch.add("DequantizeLinear", sketch.hold(weight), scales, axis=0, block_size=4)
    elif change == "scale per input":
        held = sketch.weight(weight, np.linspace(0.1, 0.2, 8), axis=0)
    else:
        held = sketch.weight(weight, 0.01)
    made = sketch.add("MatMul", x, held)
    if change == "island":
        made = sketch.add("Sigmoid", made)
    if change == "operand in float":
        made = sketch.add("Mul", sketch.rounded(made, 0.1), normal(5))
    if change == "two readers":
        return sketch.quantized(sketch.rounded(made, 0.1, output="y"), sketch.rounded(made, 0.2, output="z"))
    return sketch.quantized(sketch.rounded(made, 0.1, output="y"))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("float input", "reads x in float"),
        ("scale per channel", "a scale per channel for the activation x"),
        ("dynamic", "computed when the model runs"),
        ("scale on scale", "another scale or zero point"),
        ("asymmetric weight", "asymmetric weights"),
        ("weight in float", "is not quantized"),
        ("blocks", "a scale for every block"),
        ("scale per input", "several weight scales for one output"),
        ("island", "left in float"),
        ("operand in float", "constant operand"),
        ("two readers", "is rounded for one reader, and not, or otherwise"),
    ],
)
def test_what_cannot_be_taken_is_refused_by_name(change: str, what: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        adopted(rounded_model(change))
    assert what in caught.value.what
    assert caught.value.where
    assert caught.value.fix.endswith(".")


def faulty_model() -> onnx.ModelProto:
    """A network with a fault of another kind wherever there is one to make."""
    sketch = QuantizedSketch(opset=21, ir_version=10, x=("N", 8), z=("N", 8))
    weight = [sketch.weight(integers(8, 8, seed=seed), 0.01) for seed in range(3)]
    first = sketch.add("MatMul", "x", weight[0])
    second = sketch.add("MatMul", sketch.rounded(first, 0.1), sketch.hold(normal(8, 8)))
    scales, zeros = sketch.hold(np.linspace(0.1, 0.2, 8, dtype=np.float32)), sketch.hold(np.zeros(8, np.int8))
    spread = sketch.add("DequantizeLinear", sketch.add("QuantizeLinear", second, scales, zeros), scales, zeros)
    third = sketch.add("Mul", spread, normal(8))
    island = sketch.add("Sigmoid", sketch.add("MatMul", sketch.rounded(third, 0.1), weight[1]))
    apart = sketch.add("Concat", sketch.rounded(island, 0.1), sketch.rounded("z", 0.2), axis=1)
    twice = sketch.add("MatMul", sketch.rounded("z", 0.2), weight[2])
    return sketch.quantized(
        apart, sketch.rounded(twice, 0.1, output="y"), sketch.rounded(twice, 0.2, output="w"), sketch.add("Sin", "z")
    )


def test_check_lists_all_that_cannot_be_taken_and_a_compile_says_how_many(tmp_path: Path) -> None:
    onnx.save(faulty_model(), tmp_path / "faulty.onnx")
    found = check(tmp_path / "faulty.onnx", "cortex-m4")
    assert [(one.where.split()[0], one.reason) for one in found.refusals] == [
        ("Quantizer", "a scale per channel for the activation v6_0, and not depthwise convolutions alone read it"),
        ("input", "z is rounded for one reader, and not, or otherwise, for Sin sin26"),
        ("Concat", "its operands are on different grids, and its result is not quantized"),
        ("Gemm", "v21_0 is rounded for one reader, and not, or otherwise, for Quantizer v24_0.quantizer"),
        ("Mul", "its constant operand held14 is not quantized"),
        ("Gemm", "it reads x in float"),
        ("Gemm", "its weight held11 is not quantized"),
        ("Gemm", "v12_0 is left in float"),
        ("Sin", "v26_0 is left in float"),
    ]
    assert all(one.where and one.fix.endswith(".") for one in found.refusals)
    with pytest.raises(UnsupportedError, match=r"v6_0.* 8 more: `bitsmith check` lists all\."):
        adopted(faulty_model())


def test_all_that_cannot_be_read_is_told_and_nothing_that_only_follows_from_it(tmp_path: Path) -> None:
    sketch = QuantizedSketch(opset=21, ir_version=10, x=("N", 8))
    lopsided = [sketch.weight(integers(8, 8, low=0, high=255, kind=np.uint8), 0.01, zero_point=90) for _ in range(2)]
    first = sketch.add("MatMul", sketch.rounded("x", 0.02), lopsided[0])
    blocks = sketch.add("QuantizeLinear", first, sketch.hold(np.float32(0.1)), sketch.hold(np.int8(0)), block_size=4)
    second = sketch.add("DequantizeLinear", blocks, sketch.hold(np.float32(0.1)), sketch.hold(np.int8(0)))
    made = sketch.add("MatMul", sketch.add("Relu", second), sketch.weight(integers(8, 8), 0.01))
    last = sketch.add("MatMul", sketch.rounded(made, 0.1), lopsided[1])
    onnx.save(sketch.quantized(sketch.rounded(last, 0.1, output="y")), tmp_path / "model.onnx")
    found = check(tmp_path / "model.onnx", "cortex-m4").refusals
    assert [one.reason.split(":")[0] for one in found] == [
        "asymmetric weights",
        "a scale for every block of inputs",
        "asymmetric weights",
    ]


@pytest.mark.parametrize("operands", [0, 1])
@pytest.mark.parametrize("op", ["QuantizeLinear", "QLinearConv", "QLinearConcat", "Clip"])
def test_nodes_that_lack_operands_are_told(op: str, operands: int) -> None:
    sketch = QuantizedSketch(x=("N", 4))
    given = [sketch.rounded("x", 0.1), sketch.hold(np.float32(0.1)), sketch.hold(np.zeros((2, 2), np.int8))]
    model = sketch.quantized(sketch.add(op, *given[:operands], outputs=["y"]))
    with pytest.raises(ModelError) as caught:
        adopted(model)
    assert caught.value.fix


def test_what_does_not_depend_on_the_data_is_told() -> None:
    sketch = QuantizedSketch(x=("N", 4))
    weight = sketch.weight(integers(4, 4), 0.1)
    constant = sketch.add("Add", sketch.hold(normal(5000)), sketch.hold(normal(5000)))
    sketch.rounded(constant, 0.1, output="z")
    y = sketch.rounded(sketch.add("MatMul", sketch.rounded("x", 0.1), weight), 0.1, output="y")
    with pytest.raises(UnsupportedError, match="the same for all data"):
        adopted(sketch.quantized(y, "z"))
