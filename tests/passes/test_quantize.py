"""The plan: which format each value gets, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bitsmith.dataset import Dataset
from bitsmith.errors import PipelineError, UnsupportedError
from bitsmith.execution.interpreter import run
from bitsmith.importing.load import load_graph
from bitsmith.ir.allocation import Allocation
from bitsmith.ir.bounds import bounds
from bitsmith.ir.grids import TERNARY
from bitsmith.ir.integer import Concat, Conv, IntegerGraph, Linear, Table
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.passes.quantize_biases import LARGEST_BIAS
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target

Array = np.ndarray[Any, Any]


def model(nodes: list[onnx.NodeProto], shape: list[int], constants: dict[str, Array]) -> onnx.ModelProto:
    """A model x -> y of these nodes; constants by name."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made)


def planned(made: onnx.ModelProto, x: Array, passes: str, target: Target | None = None) -> Module:
    module = Module(load_graph(made), target or Target("test", "none"), Dataset.from_arrays({"x": x}))
    Pipeline.parse(f"{NORMALISE},calibrate,{passes}").run(module)
    return module


def compiled(made: onnx.ModelProto, x: Array, activations: str = "observer=min-max", weights: str = "") -> IntegerGraph:
    chosen = f"quantize-weights{{{weights}}},quantize-activations{{{activations}}},quantize-biases,integerize"
    return planned(made, x, chosen).require_integer()


@pytest.fixture
def x() -> Array:
    return np.random.default_rng(0).normal(size=(16, 4, 6, 6)).astype(np.float32)


def conv_relu(weight: Array, bias: Array) -> onnx.ModelProto:
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv"), helper.make_node("Relu", ["c"], ["y"])]
    return model(nodes, [4, 6, 6], {"w": weight.astype(np.float32), "b": bias.astype(np.float32)})


def test_a_relu_is_the_clamp_of_its_conv(x: Array) -> None:
    graph = compiled(conv_relu(np.ones((2, 4, 3, 3)), np.zeros(2)), x)
    (conv,) = graph
    assert isinstance(conv, Conv)
    assert (conv.requantize.zero_point, conv.requantize.lowest, conv.requantize.highest) == (-128, -128, 127)


def test_a_symmetric_relu_output_is_unsigned_and_starts_at_zero(x: Array) -> None:
    graph = compiled(conv_relu(np.ones((2, 4, 3, 3)), np.zeros(2)), x, "observer=min-max,symmetric=true")
    chosen = graph.values["y"].format
    assert (str(chosen.type), chosen.zero_point) == ("uint8", 0)
    assert graph.values["x"].format.zero_point == 0
    assert str(graph.values["x"].format.type) == "int8"


def test_weights_per_channel_reach_both_ends_of_a_grid_without_minus_128(x: Array) -> None:
    weight = np.random.default_rng(1).normal(size=(3, 4, 3, 3)) * np.array([1, 10, 0.01])[:, None, None, None]
    (conv,) = compiled(conv_relu(weight, np.zeros(3)), x)
    assert isinstance(conv, Conv)
    assert np.abs(conv.weight.astype(int)).reshape(3, -1).max(axis=1).tolist() == [127, 127, 127]
    assert len(conv.weight_format.scale) == 3


def test_weights_per_tensor_share_one_scale(x: Array) -> None:
    weight = np.stack([np.ones((4, 3, 3)), np.full((4, 3, 3), 0.5)])
    (conv,) = compiled(conv_relu(weight, np.zeros(2)), x, weights="granularity=tensor")
    assert isinstance(conv, Conv)
    assert len(conv.weight_format.scale) == 1
    assert conv.weight[1].max() == 64
    assert conv.requantize.multiplier.size == 1


def test_a_channel_of_zeros_does_not_cost_the_others_their_precision(x: Array) -> None:
    weight = np.random.default_rng(1).normal(size=(2, 4, 3, 3)) * np.array([0.0, 1e-4])[:, None, None, None]
    (conv,) = compiled(conv_relu(weight, np.array([1.0, 1e-4])), x)
    assert isinstance(conv, Conv)
    assert not conv.weight[0].any()
    assert np.abs(conv.weight[1].astype(int)).max() == 127
    assert conv.requantize.multiplier.min() >= 1 << 14


def test_a_bias_too_large_for_its_weights_gets_a_larger_scale(x: Array) -> None:
    graph = compiled(conv_relu(np.full((1, 4, 3, 3), 1e-9), np.array([1e3])), x)
    (conv,) = graph
    assert isinstance(conv, Conv)
    assert abs(int(conv.bias[0])) <= LARGEST_BIAS + LARGEST_BIAS // 1000
    assert bounds(graph).accumulators["conv"] < 1 << 31
    step = graph.values["x"].format.scale[0] * conv.weight_format.scale[0]
    assert int(conv.bias[0]) * step == pytest.approx(1e3, rel=1e-6)


def test_concat_and_what_only_moves_share_one_format(x: Array) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["d"], name="double"),
        helper.make_node("Tanh", ["x"], ["t"], name="tanh"),
        helper.make_node("Concat", ["d", "t"], ["c"], name="concat", axis=1),
        helper.make_node("MaxPool", ["c"], ["y"], name="pool", kernel_shape=[2, 2]),
    ]
    graph = compiled(model(nodes, [4, 6, 6], {"two": np.full((4, 1, 1), 2.0, np.float32)}), x)
    concat = next(operation for operation in graph if isinstance(operation, Concat))
    formats = {graph.values[name].format for name in (*concat.inputs, concat.output, "y")}
    assert len(formats) == 1
    assert formats != {graph.values["x"].format}


def test_a_softmax_on_the_output_is_left_to_the_host_under_the_output_name(x: Array) -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["logits"], name="gemm"),
        helper.make_node("Softmax", ["logits"], ["y"], name="softmax", axis=-1),
    ]
    weight = np.random.default_rng(1).normal(size=(144, 3)).astype(np.float32)
    graph = compiled(model(nodes, [4, 6, 6], {"w": weight}), x)
    assert [(host.output, host.op, host.attributes) for host in graph.host] == [("y", "Softmax", (("axis", 1),))]
    assert graph.outputs == ("y",)
    assert isinstance(graph.operations[-1], Linear)


def test_a_clip_inside_the_grid_clamps_where_it_should(x: Array) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Clip", ["c", "low", "high"], ["k"]),
        helper.make_node("Concat", ["k", "x"], ["y"], axis=1),
    ]
    constants = {"w": np.ones((2, 4, 1, 1), np.float32), "low": np.float32(-0.5), "high": np.float32(1.0)}
    graph = compiled(model(nodes, [4, 6, 6], {k: np.asarray(v) for k, v in constants.items()}), x)
    conv, chosen = graph.operations[0], graph.values["k"].format
    assert isinstance(conv, Conv)
    assert (conv.requantize.lowest, conv.requantize.highest) == (int(chosen.quantize(-0.5)), int(chosen.quantize(1.0)))
    assert chosen.type.lowest < conv.requantize.lowest < conv.requantize.highest < chosen.type.highest


def test_a_prelu_has_a_table_row_a_channel(x: Array) -> None:
    slope = np.array([0.1, 0.2, 0.3, 0.4], np.float32).reshape(4, 1, 1)
    graph = compiled(
        model([helper.make_node("PRelu", ["x", "slope"], ["y"], name="prelu")], [4, 6, 6], {"slope": slope}), x
    )
    (table,) = graph
    assert isinstance(table, Table)
    assert table.entries.shape == (4, 256)


def test_bits_and_granularity_that_the_target_lacks_are_refused(x: Array) -> None:
    made = conv_relu(np.ones((2, 4, 3, 3)), np.zeros(2))
    only = Target("small", "none", weight_bits=(8,), activation_bits=(8,), granularities=("tensor",))
    for passes, words in [
        ("quantize-activations{bits=4}", "4-bit activations"),
        ("quantize-weights{bits=4}", "4-bit weights"),
        ("quantize-weights", "weights per channel"),
    ]:
        with pytest.raises(PipelineError, match=words):
            planned(made, x, passes, only)


def test_statistics_must_come_before_the_plan() -> None:
    made = conv_relu(np.ones((2, 4, 3, 3)), np.zeros(2))
    with pytest.raises(PipelineError, match="calibrate"):
        Pipeline.parse("quantize-activations").run(Module(load_graph(made), Target("test", "none")))
    with pytest.raises(PipelineError, match="has no format yet"):
        Pipeline.parse("quantize-biases").run(Module(load_graph(made), Target("test", "none")))


def test_auto_keeps_the_observer_that_moves_the_outputs_least(x: Array) -> None:
    outlier = x.copy()
    outlier[0, 0, 0, 0] = 1e4
    made = conv_relu(np.random.default_rng(1).normal(size=(2, 4, 3, 3)), np.zeros(2))
    module = planned(made, outlier, "quantize-weights")
    (note,) = Pipeline.parse("quantize-activations").passes[0].run(module).notes
    figures = note.removesuffix(")").split("in nats: ")[1].split(", ")
    moved = {name: float(nats) for name, nats in (figure.split() for figure in figures)}
    assert note.startswith(f"ranges by {min(moved, key=moved.__getitem__)}, ")
    assert set(moved) == {"min-max", "percentile", "mse"}


def test_an_accumulator_that_int32_cannot_hold_is_refused_by_name() -> None:
    width = 70_000
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], name="wide")]
    made = model(nodes, [width], {"w": np.ones((width, 1), np.float32)})
    x = np.ones((2, width), np.float32)
    with pytest.raises(UnsupportedError, match=r"Linear wide: .*int32 cannot hold"):
        compiled(made, x)


@pytest.mark.parametrize("caps", [[0.5, 1.0], [1.0, 1.0], [0.5, 1e9]])
def test_a_bound_per_channel_is_rounded_to_the_grid_once(x: Array, caps: list[float]) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Min", ["r", "caps"], ["k"]),
        helper.make_node("Concat", ["k", "x"], ["y"], axis=1),
    ]
    constants = {
        "w": np.ones((2, 4, 1, 1), np.float32),
        "caps": np.array(caps, np.float32).reshape(1, 2, 1, 1),
    }
    graph = compiled(model(nodes, [4, 6, 6], constants), x)
    conv, chosen = graph.operations[0], graph.values["k"].format
    assert isinstance(conv, Conv)
    on_grid = [int(chosen.quantize(cap)) for cap in caps]
    assert conv.requantize.lowest == chosen.zero_point
    assert conv.requantize.highest == max(on_grid)
    if len(set(on_grid)) == 1:
        assert conv.requantize.caps is None
    else:
        np.testing.assert_array_equal(conv.requantize.caps, np.reshape(on_grid, (2, 1, 1)))
    integers = run(graph, {"x": graph.values["x"].format.quantize(x)}, keep=True)["k"]
    assert integers.max(axis=(0, 2, 3)).tolist() == on_grid


@pytest.mark.parametrize("largest_bias", [1.0, 1e6])
@pytest.mark.parametrize(
    ("weights", "bits"),
    [
        ("bits=2", 2),
        ("format=ternary", 1.6),
        ("bits=2,format=codebook", 2),
        ("bits=4,format=codebook", 4),
        ("bits=4,format=powers", 4),
        ("format=power-sums", 7),
        ("format=e2m1", 4),
        ("format=e4m3", 8),
        ("bits=4,group=4", 4),
    ],
)
def test_integers_stay_on_the_grid_that_was_chosen(x: Array, weights: str, bits: float, largest_bias: float) -> None:
    random = np.random.default_rng(1)
    constants = {
        "w": random.normal(size=(3, 4, 3, 3)).astype(np.float32),
        "b": np.array([0.0, 1.0, largest_bias], np.float32),
        "v": random.normal(size=(3, 5)).astype(np.float32),
        "c": np.array([0.0, 1.0, largest_bias, -1.0, 0.5], np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["m"], name="conv"),
        helper.make_node("GlobalAveragePool", ["m"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["r"], name="product"),
        helper.make_node("Add", ["r", "c"], ["y"]),
    ]
    target = Target("test", "none", weight_bits=tuple(range(2, 9)))
    passes = f"quantize-weights{{{weights}}},quantize-activations{{observer=min-max}},quantize-biases,integerize"
    graph = planned(model(nodes, [4, 6, 6], constants), x, passes, target).require_integer()
    layers = [operation for operation in graph if isinstance(operation, Conv | Linear)]
    assert len(layers) == 2
    for layer in layers:
        grid = layer.weight_format.grid
        assert grid is not None
        assert layer.weight_format.bits == bits
        assert grid.holds(layer.weight.reshape(len(layer.weight), -1))


TWO_CONVS = [
    helper.make_node("Conv", ["x", "w", "b"], ["c"], name="first"),
    helper.make_node("MaxPool", ["c"], ["m"], name="pool", kernel_shape=[2, 2]),
    helper.make_node("Conv", ["m", "v", "b"], ["y"], name="second"),
]
NARROW = Target("test", "none", weight_bits=(8, 4, 2), activation_bits=(8, 4))
TERNARY_TOO = replace(NARROW, weight_formats=("int", "ternary"))


def allocated(
    x: Array,
    allocation: Allocation,
    passes: str = "quantize-weights,quantize-activations",
    target: Target = NARROW,
) -> Module:
    constants = {"w": np.ones((4, 4, 1, 1), np.float32), "v": np.ones((4, 4, 3, 3), np.float32), "b": np.zeros(4)}
    made = model(TWO_CONVS, [4, 6, 6], {name: array.astype(np.float32) for name, array in constants.items()})
    module = Module(load_graph(made), target, Dataset.from_arrays({"x": x}), allocation=allocation)
    Pipeline.parse(f"{NORMALISE},calibrate,{passes},quantize-biases,integerize").run(module)
    return module


def test_an_allocation_goes_before_the_options_of_the_passes(x: Array) -> None:
    plan = allocated(x, Allocation({"v": 2}, {"c": 4})).plan
    assert {name: plan[name].bits for name in ("w", "v", "x", "c", "m", "y")} == {
        "w": 8,
        "v": 2,
        "x": 8,
        "c": 4,
        "m": 4,
        "y": 8,
    }
    plan = allocated(x, Allocation({"v": 4}), "quantize-weights{bits=2},quantize-activations{bits=4,edges=4}").plan
    assert [plan[name].bits for name in ("w", "v", "x", "c")] == [2, 4, 4, 4]
    by_tensor = "quantize-weights{granularity=tensor},quantize-activations"
    plan = allocated(x, Allocation({"v": 1.6}), by_tensor, TERNARY_TOO).plan
    assert (plan["v"].grid, len(plan["v"].scale), plan["w"].grid) == (TERNARY, 1, None)


@pytest.mark.parametrize(
    ("allocation", "complaint"),
    [
        (Allocation({"u": 4}), "there is no weight u. Known: v, w."),
        (Allocation({}, {"d": 4}), "there is no activation d"),
        (Allocation({"w": 3}), "3-bit weights"),
        (Allocation({"w": 1.6}), r"w is to have ternary weights \(1.6 bits\)"),
        (Allocation({}, {"c": 2}), "2-bit activations"),
        (Allocation({}, {"c": 8, "m": 4}), r"c \(8 bits\) and m \(4 bits\) share one format"),
    ],
)
def test_an_allocation_that_does_not_fit_the_model_is_refused(x: Array, allocation: Allocation, complaint: str) -> None:
    with pytest.raises(PipelineError, match=complaint):
        allocated(x, allocation)


def test_ternary_weights_of_an_allocation_are_in_no_groups(x: Array) -> None:
    grouped = "quantize-weights{granularity=channel,group=2},quantize-activations"
    assert allocated(x, Allocation({"v": 2}), grouped, TERNARY_TOO).plan["v"].bits == 2
    with pytest.raises(PipelineError, match=r"v is to have ternary weights \(1.6 bits\), which have no groups of 2\. "):
        allocated(x, Allocation({"v": 1.6}), grouped, TERNARY_TOO)
