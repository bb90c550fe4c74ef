"""equalize: the same function, with equal shares of the weights' ranges on both sides of each channel."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsmith.dataset import Dataset
from bitsmith.errors import PipelineError
from bitsmith.execution.channels import channel_statistics
from bitsmith.importing.load import load_graph
from bitsmith.ir.formats import IntegerType, Plan, symmetric
from bitsmith.ir.graph import Graph, Node
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.passes.equalize.solve import LARGEST
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.sketch import Array, Sketch, apply, assert_same, normal, run

BETWEEN = ["none", "Relu", "ReLU6", "LeakyRelu", "PRelu", "MaxPool", "AveragePool", "Pad", "Resize"]
TO_THE_END = "equalize{iterations=300,activations=0}"


def uneven(*shape: int, seed: int) -> Array:
    """Weights whose output channels differ in range by up to a thousand."""
    spread = 10 ** np.random.default_rng(seed).uniform(-1.5, 1.5, (shape[0], *[1] * (len(shape) - 1)))
    return (normal(*shape, seed=seed) * spread).astype(np.float32)


def between(sketch: Sketch, op: str, x: str, channels: int = 4) -> str:
    if op == "none":
        return x
    if op == "ReLU6":
        return str(sketch.add("Clip", x, np.float32(0), np.float32(6)))
    if op == "PRelu":
        return str(sketch.add(op, x, normal(channels, 1, 1, seed=3)))
    if op == "Pad":
        return str(sketch.add(op, x, np.array([0, 0, 1, 0, 0, 0, 0, 1])))
    if op == "Resize":
        return str(sketch.add(op, x, None, np.array([1, 1, 2, 2], np.float32)))
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]} if op.endswith("Pool") else {}
    return str(sketch.add(op, x, **pool))


def chain(ops: list[str], flatten: bool) -> onnx.ModelProto:
    sketch = Sketch(x=("N", 3, 4, 4))
    y = between(sketch, ops[0], sketch.add("Conv", "x", uneven(4, 3, 1, 1, seed=1), normal(4)))
    y = between(sketch, ops[1], sketch.add("Conv", y, uneven(4, 1, 1, 1, seed=2), normal(4), group=4))
    y = between(sketch, ops[2], sketch.add("Conv", y, uneven(4, 2, 1, 1, seed=4), normal(4), group=2))
    y = sketch.add("Flatten", y if flatten else sketch.add("GlobalAveragePool", y))
    side = 4
    for op in ops:
        side = {"Pad": side + 1, "Resize": 2 * side}.get(op, side)
    features = 4 * side * side if flatten else 4
    return sketch.model(sketch.add("Gemm", y, normal(5, features, seed=5), normal(5), transB=1))


def share_made(linear: Node) -> Array:
    """By output channel, its largest |weight| over the tensor's."""
    weight = np.abs(weight_of(linear))
    return weight.reshape(len(weight), -1).max(axis=1) / weight.max()


def share_read(linear: Node, channels: int) -> Array:
    """By channel of what it reads, the largest |weight| that reads it, over the tensor's."""
    weight = np.abs(weight_of(linear))
    groups = linear.attribute("group", 1)
    by_input = weight.reshape(groups, len(weight) // groups, weight.shape[1], -1).max(axis=(1, 3))
    return by_input.reshape(channels, -1).max(axis=1) / weight.max()


def weight_of(linear: Node) -> Array:
    weight = linear.constant(1)
    assert weight is not None
    return weight


@settings(max_examples=25)
@given(st.lists(st.sampled_from(BETWEEN), min_size=3, max_size=3), st.booleans())
def test_chains_keep_their_function_and_their_ranges_meet(ops: list[str], flatten: bool) -> None:
    model = chain(ops, flatten)
    graph, _ = apply(f"{NORMALISE},{TO_THE_END}", model)
    assert_same(model, graph)
    for first, second in pairwise(graph.nodes("Conv", "Gemm")):
        np.testing.assert_allclose(share_made(first), share_read(second, 4), rtol=1e-3)


def clip(sketch: Sketch, x: str) -> str:
    return str(sketch.add("Clip", x, np.float32(0), np.float32(6)))


@st.composite
def residual(draw: Callable[[st.SearchStrategy[Any]], Any]) -> onnx.ModelProto:
    """Inverted residual blocks as MobileNetV2 has them, joined in several ways, here and there resized."""
    sketch, seed, channels = Sketch(x=("N", 3, 4, 4)), draw(st.integers(0, 99)), 4
    y = clip(sketch, sketch.add("Conv", "x", uneven(channels, 3, 1, 1, seed=seed), normal(channels)))
    for _ in range(draw(st.integers(1, 3))):
        seed, wide = seed + 3, draw(st.sampled_from([2, 6]))
        z = clip(sketch, sketch.add("Conv", y, uneven(wide, channels, 1, 1, seed=seed), normal(wide)))
        z = sketch.add("Conv", z, uneven(wide, 1, 3, 3, seed=seed + 1), normal(wide), group=wide, pads=[1, 1, 1, 1])
        z = sketch.add("Conv", clip(sketch, z), uneven(channels, wide, 1, 1, seed=seed + 2), normal(channels))
        join = draw(st.sampled_from(["Add", "Sub", "Concat", "Mul", "Slice", "Pad"]))
        if join == "Concat":
            y, channels = sketch.add("Concat", y, z, axis=1), 2 * channels
        elif join == "Mul":
            y = sketch.add("Mul", sketch.add("Sigmoid", z), y)
        elif join == "Slice":
            bounds = [np.array(bound) for bound in ([channels - 1], [-channels - 1], [1], [-1])]
            y = sketch.add("Add", y, sketch.add("Slice", z, *bounds))
        elif join == "Pad":
            y = sketch.add("Concat", sketch.add("Pad", y, np.array([0, 1, 0, 0, 0, 1, 0, 0])), z, axis=1)
            channels = 2 * channels + 2
        else:
            y = sketch.add(join, y, z)
        y = between(sketch, draw(st.sampled_from(["none", "Resize", "Relu", "AveragePool"])), y, channels)
    pooled = sketch.add("Flatten", sketch.add("GlobalAveragePool", y))
    return sketch.model(sketch.add("Gemm", pooled, normal(3, channels, seed=seed), normal(3), transB=1))


@settings(max_examples=25)
@given(residual())
def test_residual_groups_keep_their_function(model: onnx.ModelProto) -> None:
    graph, changes = apply(f"{NORMALISE},equalize", model)
    linear = len(graph.nodes("Conv", "Gemm"))
    assert len([one for one in changes.made if ": outputs by" in one]) >= linear - 1 - len(graph.nodes("Sigmoid"))
    assert_same(model, graph, tolerance=1e-4)


def test_one_vector_serves_all_that_a_residual_sum_joins() -> None:
    sketch = Sketch(x=("N", 3, 4, 4))
    stem = sketch.add("Conv", "x", uneven(4, 3, 1, 1, seed=1), normal(4), outputs=["stem"])
    inner = sketch.add("Relu", sketch.add("Conv", stem, uneven(6, 4, 1, 1, seed=2), normal(6)))
    joined = sketch.add("Add", sketch.add("Conv", inner, uneven(4, 6, 1, 1, seed=3), normal(4)), stem)
    model = sketch.model(sketch.add("Conv", joined, normal(2, 4, 1, 1, seed=4), normal(2)))
    before = load_graph(model).nodes("Conv")
    graph, _ = apply(TO_THE_END, model)
    assert_same(model, graph)
    stem_conv, expand, project, head = graph.nodes("Conv")
    divided = weight_of(before[0])[:, 0, 0, 0] / weight_of(stem_conv)[:, 0, 0, 0]
    assert divided.max() > 2 * divided.min()
    np.testing.assert_allclose(
        weight_of(head) / weight_of(before[3]), np.tile(divided[:, None, None], (2, 1, 1, 1)), 1e-5
    )
    made = np.maximum(share_made(stem_conv), share_made(project))
    read = np.maximum(share_read(expand, 4), share_read(head, 4))
    np.testing.assert_allclose(made, read, rtol=1e-3)


def test_relu6_is_exact_at_its_edges() -> None:
    points = np.array([-1, -1e-6, 0, 1e-6, 3, 5.9999, 6, 6.0001, 100], np.float32)
    scales = np.array([1e-2, 1, 40], np.float32)
    sketch = Sketch(x=("N", 3, 1, 1))
    clipped = clip(sketch, sketch.add("Conv", "x", np.ones((3, 1, 1, 1), np.float32), np.zeros(3, np.float32), group=3))
    model = sketch.model(sketch.add("Conv", clipped, scales.reshape(3, 1, 1, 1), np.zeros(3, np.float32), group=3))
    graph, _ = apply("equalize", model)
    assert [node.op for node in graph.nodes()] == ["Conv", "Relu", "Min", "Conv"]
    caps = graph.nodes("Min")[0].constant(1)
    assert caps is not None
    assert caps.shape == (1, 3, 1, 1)
    assert caps.max() > 10 * caps.min()
    x = np.tile(points[:, None, None, None], (1, 3, 1, 1))
    (found,) = run(graph.to_onnx(), x=x)
    expected = np.clip(points, 0, 6)[:, None] * scales
    np.testing.assert_allclose(found[:, :, 0, 0], expected, rtol=4e-7, atol=0)
    assert np.ptp(found[points >= 6.0001], axis=0).max() == 0


def test_equalizing_twice_scales_the_caps_again() -> None:
    model = chain(["ReLU6", "ReLU6", "ReLU6"], False)
    graph, _ = apply(f"{NORMALISE},equalize{{iterations=1}},equalize", model)
    assert [len(graph.nodes(op)) for op in ("Clip", "Relu", "Min")] == [0, 3, 3]
    assert_same(model, graph)


def test_activations_stay_in_the_range_that_they_had() -> None:
    # Channel 0 is weak but for its bias: by weights alone it would be scaled up, and its activations with it.
    first, second = normal(4, 3, 1, 1), normal(4, 4, 1, 1, seed=1)
    first[0] *= np.float32(1e-3)
    sketch = Sketch(x=("N", 3, 4, 4))
    y = sketch.add("Relu", sketch.add("Conv", "x", first, np.array([5, 0, 0, 0], np.float32)))
    model = sketch.model(sketch.add("Conv", y, second, normal(4)))
    x = normal(20, 3, 4, 4)

    def growth(passes: str, data: Dataset | None) -> float:
        module = Module(load_graph(model), Target("test", "none"), data)
        Pipeline.parse(passes).run(module)
        assert_same(model, module.graph)
        largest = []
        for one in (load_graph(model), module.graph):
            value = one.nodes("Relu")[0].output
            largest.append(channel_statistics(one, [value], Dataset.from_arrays({"x": x}))[value].magnitude.max())
        return float(largest[1] / largest[0])

    data = Dataset.from_arrays({"x": x})
    assert growth("equalize{iterations=100,activations=0}", data) > 3
    assert growth("equalize{iterations=100}", data) < 1.001
    assert growth("equalize{iterations=100}", None) < 1.001


def test_statistics_of_other_ranges_are_forgotten() -> None:
    data = Dataset.from_arrays({"x": normal(8, 3, 4, 4)})
    module = Module(load_graph(chain(["Relu"] * 3, False)), Target("test", "none"), data)
    Pipeline.parse(f"{NORMALISE},calibrate,equalize").run(module)
    assert module.statistics is None


def test_quantizing_per_tensor_loses_less() -> None:
    def sqnr(weights: Array) -> float:
        scale = np.abs(weights).max() / 127
        per_channel = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
        error = np.round(weights / scale) * scale - weights
        return float(np.mean((weights / per_channel) ** 2) / np.mean((error / per_channel) ** 2))

    model = chain(["Relu", "Relu", "Relu"], False)
    before, after = load_graph(model), apply(f"{NORMALISE},equalize", model)[0]
    assert sqnr(weight_of(after.nodes("Conv")[0])) > 2 * sqnr(weight_of(before.nodes("Conv")[0]))


def test_a_dead_channel_is_left_alone() -> None:
    first = normal(4, 3, 1, 1)
    first[1] = 0
    sketch = Sketch(x=("N", 3, 4, 4))
    y = sketch.add("Relu", sketch.add("Conv", "x", first, normal(4)))
    second = normal(2, 4, 1, 1, seed=2)
    second[:, 2] = 0
    model = sketch.model(sketch.add("Conv", y, second, normal(2)))
    graph, _ = apply("equalize", model)
    assert_same(model, graph)
    made, read = (weight_of(node) for node in graph.nodes("Conv"))
    np.testing.assert_array_equal(read[:, 1], second[:, 1])
    np.testing.assert_array_equal(made[2], first[2])


def test_no_channel_is_scaled_beyond_the_limit_over_all_rounds() -> None:
    first, second = normal(4, 3, 1, 1), normal(2, 4, 1, 1, seed=2)
    first[1] *= np.float32(1e-20)
    second[:, 1] *= np.float32(1e10)
    sketch = Sketch(x=("N", 3, 4, 4))
    y = sketch.add("Relu", sketch.add("Conv", "x", first, np.zeros(4, np.float32)))
    graph, _ = apply(TO_THE_END, sketch.model(sketch.add("Conv", y, second, normal(2))))
    np.testing.assert_allclose(weight_of(graph.nodes("Conv")[0])[1], first[1] * LARGEST, rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "operands", "why"),
    [
        ("Clip", [np.float32(-1), np.float32(6)], "the lower bound of Clip clip1 is not 0"),
        ("Sigmoid", [], "not known to commute"),
        ("Pad", [np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(2)], "more than pad with zeros"),
        ("Reshape", [np.array([0, 16, 2, 2])], "mixes channels with space"),
        ("Transpose", [], "moves the channels"),
        ("Add", [np.ones((1, 4, 1, 1), np.float32)], "has a constant operand"),
        ("Min", [normal(1, 4, 4, 4)], "does not bound each channel by a constant"),
    ],
)
def test_refused_between(op: str, operands: list[Array], why: str) -> None:
    sketch = Sketch(x=("N", 4, 4, 4))
    attributes = {"perm": [0, 2, 1, 3]} if op == "Transpose" else {}
    y = sketch.add(op, sketch.add("Conv", "x", normal(4, 4, 1, 1), normal(4)), *operands, **attributes)
    channels = 16 if op == "Reshape" else 4
    model = sketch.model(sketch.add("Sigmoid", sketch.add("Conv", y, normal(2, channels, 1, 1), normal(2))))
    graph, changes = apply("equalize", model)
    assert why in changes.refused[0][1]
    assert changes.made == []
    assert_same(model, graph)


def test_refused_where_two_scaled_values_are_multiplied_or_broadcast() -> None:
    sketch = Sketch(x=("N", 4, 4, 4))
    one, other = (sketch.add("Conv", "x", normal(4, 4, 1, 1, seed=seed), normal(4)) for seed in (1, 2))
    thin = sketch.add("Conv", "x", normal(1, 4, 1, 1), normal(1))
    model = sketch.model(sketch.add("Mul", one, other), sketch.add("Add", one, thin))
    _, changes = apply("equalize", model)
    assert changes.made == []
    reasons = {reason for _, reason in changes.refused}
    assert any("multiplies two values" in reason for reason in reasons)
    assert any("broadcasts over channels" in reason for reason in reasons)


def test_values_without_channels_are_passed_over() -> None:
    sketch = Sketch(x=("N", 4, 4, 4), bound=())
    y = sketch.add("Conv", "x", normal(4, 4, 1, 1), normal(4))
    y = sketch.add("Clip", y, np.float32(0), "bound")
    model = sketch.model(sketch.add("Conv", y, normal(2, 4, 1, 1), normal(2)))
    _, changes = apply("equalize", Graph.from_onnx(onnx.shape_inference.infer_shapes(model)))
    assert changes.made == []
    assert "reads a value without channels" in changes.refused[0][1]


def test_refused_where_the_caller_sees_the_value() -> None:
    sketch = Sketch(x=("N", 4, 4, 4))
    y = sketch.add("Conv", "x", normal(4, 4, 1, 1), normal(4))
    z = sketch.add("Conv", sketch.add("Relu", y), normal(4, 4, 1, 1), normal(4))
    graph, changes = apply("equalize", sketch.model(z, y))
    assert [reason.split(" is ")[1] for _, reason in changes.refused] == ["an output of the graph"] * 2
    assert changes.made == []
    np.testing.assert_array_equal(weight_of(graph.nodes("Conv")[0]), normal(4, 4, 1, 1))


def test_refused_where_float32_cannot_hold_the_bias() -> None:
    sketch = Sketch(x=("N", 3, 4, 4))
    first = normal(4, 3, 1, 1)
    first[0] *= np.float32(1e-8)
    y = sketch.add("Conv", "x", first, normal(4))
    graph = load_graph(sketch.model(sketch.add("Conv", y, normal(2, 4, 1, 1), normal(2))))
    # No file may hold such a bias, but passes that fold into it may make one.
    graph.nodes("Conv")[0].operand(2).constant = np.array([1e36, 0, 0, 0], np.float32)
    _, changes = apply("equalize{activations=0}", graph)
    assert changes.made == []
    assert len([why for where, why in changes.refused if "finite in float32" in why]) == 1
    np.testing.assert_array_equal(weight_of(graph.nodes("Conv")[1]), normal(2, 4, 1, 1))


def test_refused_once_formats_are_decided() -> None:
    module = Module(load_graph(chain(["Relu"] * 3, False)), Target("test", "none"))
    module.plan = Plan({"w": symmetric(1.0, IntegerType(8))})
    with pytest.raises(PipelineError, match="before the passes that quantize"):
        Pipeline.parse("equalize").run(module)


@pytest.mark.parametrize("options", ["iterations=0", "activations=-1.0"])
def test_options_that_make_no_sense(options: str) -> None:
    with pytest.raises(PipelineError, match="pass equalize"):
        apply(f"equalize{{{options}}}", chain(["Relu"] * 3, False))


@pytest.mark.parametrize("name", ["resnet8_cifar10", "resnet20_cifar10", "mobilenetv2s_cifar10", "dscnn_kws"])
def test_every_linear_op_of_real_models_but_the_last_is_equalized(name: str, model_file: Callable[[str], Path]) -> None:
    model = onnx.load(model_file(f"{name}.onnx"))
    graph, changes = apply(f"{NORMALISE},equalize", model)
    assert [why for where, why in changes.refused if where.startswith(("Gemm", "Conv")) and "output" in why]
    scaled = [one for one in changes.made if ": outputs by" in one]
    assert len(scaled) == len(graph.nodes("Conv", "Gemm")) - 1
    assert_same(model, graph)
