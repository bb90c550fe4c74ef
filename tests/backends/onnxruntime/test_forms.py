"""Which form each operation is written in, what ONNX Runtime makes of it, and that it means the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from bitsmith.backends.onnxruntime import build_model, float_compute_nodes, optimize, serialize
from bitsmith.backends.onnxruntime.processor import saturates
from bitsmith.errors import InternalError, UnsupportedError
from bitsmith.execution.batches import vectors
from bitsmith.execution.interpreter import run
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import (
    Concat,
    Conv,
    Function,
    IntegerGraph,
    Linear,
    MaxPool,
    Mul,
    Pad,
    Reshape,
    Resize,
    Slice,
    Table,
    Transpose,
)
from tests.backends.onnxruntime.agreement import assert_agrees
from tests.backends.onnxruntime.graphs import INT8, X, Y, add, average, conv, linear, one, requantize


def ops(model: onnx.ModelProto) -> Counter[str]:
    """How many nodes of each op, quantization aside."""
    skipped = {"QuantizeLinear", "DequantizeLinear"}
    return Counter(node.op_type for node in model.graph.node if node.op_type not in skipped)


def optimized(graph: IntegerGraph) -> Counter[str]:
    """What ORT runs for `graph`, after it was held to the integers; no product may be left in float."""
    assert_agrees(graph, vectors(graph, 40, seed=2))
    model = optimize(serialize(build_model(graph)))
    assert float_compute_nodes(model) == []
    return ops(model)


@pytest.mark.parametrize("lowest", [-128, 0])
def test_caps_per_channel_leave_the_conv_an_integer_kernel(lowest: int) -> None:
    graph = conv((7, 9))
    (operation,) = graph.operations
    assert isinstance(operation, Conv)
    caps = np.linspace(lowest, 127, len(operation.weight)).astype(np.int64).reshape(-1, 1, 1)
    capped = replace(operation, requantize=replace(operation.requantize, lowest=lowest, caps=caps))
    found = optimized(replace(graph, operations=(capped,)))
    assert found - optimized(graph) == Counter({"Min": 1, "Clip": int(lowest > -128)})


@pytest.mark.parametrize(
    "graph",
    [
        conv((9,)),
        conv((7, 9)),
        conv((7, 9), per_channel=False),
        conv((9,), channels=6, groups=6),
        conv((7, 9), channels=6, groups=6),
        conv((7, 9), channels=6, groups=3),
        conv((7, 9), kernel=1),
    ],
    ids=["1d", "2d", "per tensor", "1d depthwise", "2d depthwise", "grouped", "pointwise"],
)
def test_a_conv_runs_as_one_integer_kernel_on_int8_weights(graph: IntegerGraph) -> None:
    (operation,) = graph.operations
    assert isinstance(operation, Conv)
    assert optimized(graph)["QLinearConv"] == 1
    written = build_model(graph)
    # Where products saturate, the session that is exact holds weights as uint8.
    for model in [written] if saturates() else [written, optimize(serialize(written))]:
        held = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
        weights = [array for array in held if array.shape == operation.weight.shape]
        assert [array.dtype for array in weights] == [np.int8]
        np.testing.assert_array_equal(weights[0], operation.weight)
        assert any(array.dtype == np.int32 and np.array_equal(array, operation.bias) for array in held)


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
def test_a_linear_layer_runs_as_one_integer_kernel_on_int8_weights(shape: tuple[int, ...]) -> None:
    graph = linear(shape)
    (operation,) = graph.operations
    assert isinstance(operation, Linear)
    found = optimized(graph)
    assert found["QGemm"] == 1
    assert set(found) <= {"QGemm", "Reshape"}
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in build_model(graph).graph.initializer}
    np.testing.assert_array_equal(held["linear_weight_quantized"], operation.weight)
    assert held["linear_weight_quantized"].dtype == np.int8


def test_a_relu_that_is_the_end_of_the_grid_costs_nothing() -> None:
    relu = Format(INT8, (0.11,), -128)
    graph = conv((5, 5), y=relu, clamp=(relu.zero_point, None))
    assert ops(build_model(graph)) == {"Conv": 1}
    assert "Clip" not in optimized(graph)


@pytest.mark.parametrize("clamp", [(13, None), (None, 60), (13, 60), (-128, 127)])
def test_a_clamp_inside_the_grid_is_on_the_integers(clamp: tuple[int | None, int | None]) -> None:
    found = optimized(conv((5, 5), clamp=clamp))
    assert found["QLinearConv"] == 1
    assert found["Clip"] == (clamp != (-128, 127))


def test_signed_and_unsigned_activations_meet_as_uint8() -> None:
    signed, unsigned = Format(IntegerType(8), (0.05,)), Format(IntegerType(8, signed=False), (0.11,))
    for x, y in ((signed, unsigned), (unsigned, signed), (unsigned, unsigned)):
        assert optimized(conv((5, 5), x=x, y=y))["QLinearConv"] == 1


@pytest.mark.parametrize("bits", [2, 4, 7])
def test_fewer_bits_are_held_one_to_a_byte(bits: int) -> None:
    x = Format(IntegerType(bits), (0.7,), 1)
    y = Format(IntegerType(bits, signed=False), (0.9,), 1)
    found = optimized(conv((5, 5), x=x, y=y, weight_bits=bits))
    # The input is clipped too: what a caller gives is not bound to the narrower grid.
    assert found == {"QLinearConv": 1, "Clip": 2, "Transpose": found["Transpose"]}


def test_a_channel_without_weights_does_not_keep_the_conv_in_float() -> None:
    graph = conv((5, 5))
    (operation,) = graph.operations
    assert isinstance(operation, Conv)
    scales = (float(np.finfo(np.float32).tiny) * 2**24, *operation.weight_format.scale[1:])
    weights = Format(INT8, scales, axis=0)
    dead = replace(
        operation,
        weight=operation.weight * (np.arange(6) > 0).reshape(6, 1, 1, 1),
        bias=operation.bias * (np.arange(6) > 0),
        weight_format=weights,
        requantize=requantize(np.array(scales).reshape(-1, 1, 1) * X.scale[0] / Y.scale[0], Y),
    )
    assert optimized(one(dead, {"x": (4, 5, 5)}, {"x": X, "y": Y}))["QLinearConv"] == 1


@pytest.mark.parametrize(
    ("signs", "op"), [((1, 1), "QLinearAdd"), ((1, -1), "Sub"), ((-1, 1), "Sub"), ((-1, -1), "Sub")]
)
@pytest.mark.parametrize("constant", [False, True])
def test_an_add_takes_signs_shapes_and_constants(signs: tuple[int, int], op: str, constant: bool) -> None:
    assert optimized(add(signs, constant=constant))[op] == 1
    assert optimized(add(signs, b=(1, 4), constant=constant))[op] == 1


def test_a_constant_of_lower_rank_broadcasts() -> None:
    assert optimized(add((1, 1), a=(3, 4, 5), b=(4, 1), constant=True))["QLinearAdd"] == 1


def mul(shape: tuple[int, ...] = (3, 4)) -> IntegerGraph:
    """The product of a (3, 4) and a value of another shape."""
    b = Format(INT8, (0.031,), 40)
    operation = Mul("mul", ("a", "b"), "y", requantize=requantize(X.scale[0] * b.scale[0] / Y.scale[0], Y))
    return one(operation, {"a": (3, 4), "b": shape}, {"a": X, "b": b, "y": Y})


@pytest.mark.parametrize("shape", [(3, 4), (1, 4)])
def test_mul_runs_as_one_integer_kernel(shape: tuple[int, ...]) -> None:
    assert optimized(mul(shape)) == {"QLinearMul": 1}


EDGES = np.array([[4, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]])
"""How many elements 3x3 windows cover of a 4x4 space that is padded by 1."""


@pytest.mark.parametrize(
    ("graph", "written", "run_as"),
    [
        (average((4, 5), 20, (4, 5)), "GlobalAveragePool", "QLinearGlobalAveragePool"),
        (average((6,), 6, (6,)), "GlobalAveragePool", "QLinearGlobalAveragePool"),
        (average((4, 5), 6, (2, 3)), "AveragePool", "QLinearAveragePool"),
        (average((4, 4), 9, (3, 3), pads=(1, 1, 1, 1)), "AveragePool", "QLinearAveragePool"),
        (average((4, 4), EDGES, (3, 3), pads=(1, 1, 1, 1)), "AveragePool", "QLinearAveragePool"),
        # Divided by the 5 elements that a pad of 1 and an edge leave, in one place only.
        (average((4,), [3, 3, 3, 1], (3,), pads=(1, 1)), "AveragePool+Mul+Pad", "AveragePool+Mul+Pad"),
        (average((4,), 2, (3,), pads=(1, 1)), "Conv", "QLinearConv"),
        (average((4,), 1, (1,), pads=(1, 1)), "Conv", "QLinearConv"),
        (average((7, 7), 9, (3, 3), dilations=(2, 2)), "Conv", "QLinearConv"),
        (average((5,), [2, 3, 3, 3, 2], (3,), pads=(2, 2), dilations=(2,)), "AveragePool+Mul+Pad", "AveragePool"),
        (average((5,), 3, (5,), dilations=(1,), strides=(2,)), "Conv", "QLinearConv"),
    ],
)
def test_a_mean_is_written_as_its_divisors_ask(graph: IntegerGraph, written: str, run_as: str) -> None:
    assert ops(build_model(graph)) == Counter(written.split("+"))
    found = optimized(graph)
    assert all(found[op] == 1 for op in run_as.split("+"))


def table(op: str, x: Format = X, y: Format = Y, rows: int = 1, **function: Any) -> IntegerGraph:
    """A Table whose entries are ORT's own float function, rounded to y's grid."""
    described = Function(op, **function)
    integers = np.arange(x.type.lowest, x.type.highest + 1)
    node = onnx.helper.make_node(op, ["x", *(f"c{i}" for i in range(len(described.constants)))], ["y"])
    node.attribute.extend(onnx.helper.make_attribute(key, number) for key, number in described.attributes)
    held = [
        numpy_helper.from_array(np.array(values, np.float32).reshape(shape), f"c{index}")
        for index, (shape, values) in enumerate(described.constants)
    ]
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["n", rows, "w"]) for name in "xy"]
    body = onnx.helper.make_graph([node], "f", ends[:1], ends[1:], held)
    model = onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    reals = np.broadcast_to(x.dequantize(integers), (1, rows, len(integers)))
    (result,) = session.run(None, {"x": np.ascontiguousarray(reals)})
    return one(
        Table("table", ("x",), "y", entries=y.quantize(result[0]), function=described),
        {"x": (rows, 6)},
        {"x": x, "y": y},
    )


@pytest.mark.parametrize(
    ("graph", "run_as"),
    [
        (table("Sigmoid", y=Format(INT8, (1 / 256,), -128)), {"QLinearSigmoid"}),
        (table("LeakyRelu", attributes=(("alpha", 0.1),)), {"QLinearLeakyRelu"}),
        (table("Tanh", y=Format(INT8, (1 / 128,))), {"Tanh"}),
        (table("HardSwish"), {"HardSigmoid", "Mul"}),
        (table("HardSigmoid", attributes=(("alpha", 0.3),), y=Format(INT8, (1 / 256,), -128)), {"HardSigmoid"}),
        (table("PRelu", rows=2, constants=(((2, 1), (0.2, 0.7)),)), {"PRelu"}),
        (table("Clip", constants=(((), (-0.5,)), ((), (0.5,)))), {"Clip"}),
        (table("Sigmoid", y=Format(IntegerType(4), (1 / 16,), -8)), {"QLinearSigmoid", "Clip"}),
    ],
)
def test_a_table_is_written_as_its_function(graph: IntegerGraph, run_as: set[str]) -> None:
    assert set(optimized(graph)) == run_as


@pytest.mark.parametrize(
    ("graph", "written"),
    [
        (one(Reshape("move", ("x",), "y"), {"x": (2, 3, 4)}, {"x": X, "y": X}, declared=(4, 6)), {"Reshape": 1}),
        (one(Reshape("move", ("x",), "y"), {"x": (2, 3)}, {"x": X, "y": X}, declared=(6,)), {"Flatten": 1}),
        (one(Reshape("move", ("x",), "y"), {"x": (1,)}, {"x": X, "y": X}), {"Reshape": 1}),
        (one(Transpose("move", ("x",), "y", (2, 0, 1)), {"x": (2, 3, 4)}, {"x": X, "y": X}), {"Transpose": 1}),
        (one(Pad("move", ("x",), "y", (1, 0, 2, 3), 77), {"x": (2, 3)}, {"x": X, "y": X}), {"Pad": 1}),
        (
            one(Slice("move", ("x",), "y", (1, 4), (1, -2)), {"x": (4, 5)}, {"x": X, "y": X}, declared=(2, 3)),
            {"Slice": 1},
        ),
        (
            one(Resize("move", ("x",), "y", ((0, 1), (0, 0, 0, 1, 1, 1))), {"x": (2, 2)}, {"x": X, "y": X}),
            {"Resize": 1},
        ),
        (one(Resize("move", ("x",), "y", ((0, 1), (1, 0, 2))), {"x": (2, 3)}, {"x": X, "y": X}), {"Gather": 1}),
        (one(Resize("move", ("x",), "y", ((1,), (1,))), {"x": (2, 3)}, {"x": X, "y": X}), {"Gather": 2}),
        (
            one(MaxPool("move", ("x",), "y", (2, 3), (1, 2), (0, 1, 1, 2), (1, 2)), {"x": (2, 5, 7)}, {"x": X, "y": X}),
            {"MaxPool": 1},
        ),
        (one(Concat("move", ("a", "b"), "y", 1), {"a": (2, 3), "b": (2, 1)}, dict.fromkeys("aby", X)), {"Concat": 1}),
    ],
)
def test_what_moves_elements_moves_integers(graph: IntegerGraph, written: dict[str, int]) -> None:
    model = build_model(graph)
    assert ops(model) == written
    moved = [node for node in model.graph.node if node.op_type in written]
    dequantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    assert not any(set(node.input) & dequantized for node in moved)
    inputs = vectors(graph, 20, seed=3)
    assert assert_agrees(graph, inputs) == 0


def test_a_tie_goes_to_the_even_integer_in_ort_and_up_in_the_graph() -> None:
    x, y = Format(INT8, (0.5,)), Format(INT8, (1.0,))
    weights = Format(INT8, (1.0,), axis=0)
    operation = Linear(
        "half", ("x",), "y", weight=[[1]], bias=[0], weight_format=weights, requantize=requantize([0.5], y)
    )
    graph = one(operation, {"x": (1,)}, {"x": x, "y": y})
    inputs = {"x": np.array([[-3], [-2], [-1], [0], [1], [2], [3]], dtype=np.int8)}
    assert run(graph, inputs)["y"].ravel().tolist() == [-1, -1, 0, 0, 1, 1, 2]
    # -1.5 -> -2, -0.5 -> 0, 0.5 -> 0, 1.5 -> 2: two of the four ties go elsewhere.
    assert assert_agrees(graph, inputs) == 2


def test_the_bias_means_the_same_to_a_runtime_that_fuses_nothing() -> None:
    graph = conv((5, 5))
    (operation,) = graph.operations
    assert isinstance(operation, Conv)
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in build_model(graph).graph.initializer}
    scales = np.array(operation.weight_format.scale, dtype=np.float32) * np.float32(X.scale[0])
    np.testing.assert_array_equal(held["conv_bias_scale"], scales)

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    serialized = serialize(build_model(graph))
    session = onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.zeros((1, 4, 5, 5), np.float32)})
    steps = np.rint(operation.bias * scales.astype(np.float64) / Y.scale[0])
    expected = np.clip(steps, -128 - Y.zero_point, 127 - Y.zero_point) * Y.scale[0]
    assert np.unique(steps).size > 2
    np.testing.assert_allclose(found[0, :, 2, 2], expected, rtol=1e-6)


@pytest.mark.parametrize("format", [Format(IntegerType(17), (0.1,)), Format(INT8, (0.1, 0.2), axis=0)])
def test_activations_that_it_cannot_hold_are_refused(format: Format) -> None:
    graph = one(Reshape("move", ("x",), "y"), {"x": (2,)}, {"x": format, "y": format}, declared=(2,))
    with pytest.raises(UnsupportedError, match=r"x: ONNX Runtime runs no .* activations"):
        build_model(graph)


def test_weights_without_kernels_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"Conv conv: .*no weights of int17"):
        build_model(conv((5, 5), weight_bits=17))


@pytest.mark.parametrize("graph", [conv((5, 5)), linear((3, 7)), add((1, -1)), mul(), average((4, 5), 6, (2, 3))])
def test_a_multiplier_that_is_not_the_ratio_of_the_scales_is_an_error(graph: IntegerGraph) -> None:
    (operation,) = graph.operations
    output = graph.result(operation)
    wider = replace(output, format=replace(output.format, scale=(output.format.scale[0] * 1.001,)))
    off = IntegerGraph("off", {**graph.values, "y": wider}, graph.inputs, graph.outputs, (operation,), graph.constants)
    with pytest.raises(InternalError, match="not the ratio of its scales"):
        build_model(off)
