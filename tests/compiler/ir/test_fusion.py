"""What rides in which operation, and so which values exist as integers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitsmith.importing.load import load_graph
from bitsmith.ir.fusion import (
    before_host,
    bias_of,
    caps_of,
    clamp_of,
    fused_activation,
    fused_clamps,
    group_output,
    materialised,
    riders,
)
from bitsmith.ir.graph import Graph, Node
from tests.sketch import Array, Sketch, normal

CAPS = np.array([1, 2], np.float32).reshape(1, 2, 1, 1)


def node(graph: Graph, op: str) -> Node:
    (found,) = graph.nodes(op)
    return found


def names(graph: Graph) -> list[str]:
    return [value.name for value in materialised(graph)]


def test_a_softmax_that_is_read_inside_as_well_stands_for_itself() -> None:
    sketch = Sketch(x=("N", 4))
    alone = sketch.add("Softmax", sketch.add("Relu", "x"), axis=-1)
    read = sketch.add("Softmax", "x", axis=-1)
    graph = load_graph(sketch.model(alone, read, sketch.add("Relu", read)))
    made = [value.producer for value in graph.outputs]
    relu, inside, last = (before_host(value).producer for value in graph.outputs)
    assert (relu is not None and relu.op, inside, last) == ("Relu", made[1], made[2])


def test_a_relu_rides_in_the_convolution_that_feeds_it() -> None:
    sketch = Sketch(x=("N", 3, 4, 4))
    conv = sketch.add("Conv", "x", normal(2, 3, 1, 1))
    graph = load_graph(sketch.model(sketch.add("Relu", conv, outputs=["y"])))
    assert fused_activation(node(graph, "Conv")) == node(graph, "Relu")
    assert group_output(node(graph, "Conv")).name == "y"
    assert clamp_of(node(graph, "Conv")) == (0.0, math.inf)
    assert riders(graph) == {node(graph, "Relu")}
    assert names(graph) == ["x", "y"]


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
def test_a_clip_rides_in_arithmetic(op: str) -> None:
    sketch = Sketch(a=("N", 3), b=("N", 3))
    made = sketch.add(op, "a", "b")
    graph = load_graph(sketch.model(sketch.add("Clip", made, np.float32(-1), np.float32(6), outputs=["y"])))
    assert clamp_of(node(graph, op)) == (-1.0, 6.0)
    assert names(graph) == ["a", "b", "y"]


def test_a_clip_with_one_bound_is_open_on_the_other_side() -> None:
    sketch = Sketch(a=("N", 3), b=("N", 3))
    graph = load_graph(sketch.model(sketch.add("Clip", sketch.add("Add", "a", "b"), None, np.float32(6))))
    assert clamp_of(node(graph, "Add")) == (-math.inf, 6.0)


def test_a_bound_per_channel_rides_behind_the_activation() -> None:
    sketch = Sketch(x=("N", 3, 4, 4))
    relu = sketch.add("Relu", sketch.add("Conv", "x", normal(2, 3, 1, 1)))
    graph = load_graph(sketch.model(sketch.add("Min", relu, CAPS, outputs=["y"])))
    conv = node(graph, "Conv")
    assert fused_clamps(conv) == (node(graph, "Relu"), node(graph, "Min"))
    assert riders(graph) == set(fused_clamps(conv))
    assert clamp_of(conv) == (0.0, math.inf)
    np.testing.assert_array_equal(caps_of(conv), [1, 2])
    assert names(graph) == ["x", "y"]


def test_a_bound_per_channel_rides_without_an_activation() -> None:
    sketch = Sketch(x=("N", 3))
    product = sketch.add("Gemm", "x", normal(3, 2))
    graph = load_graph(sketch.model(sketch.add("Min", product, CAPS.reshape(2), outputs=["y"])))
    assert fused_clamps(node(graph, "Gemm")) == (node(graph, "Min"),)
    np.testing.assert_array_equal(caps_of(node(graph, "Gemm")), [1, 2])


@pytest.mark.parametrize(
    ("caps", "low"),
    [(-CAPS, 0.0), (CAPS, 1.5), (CAPS.reshape(1, 1, 2, 1), 0.0), (CAPS.reshape(1, 1, 1, 2), 0.0)],
    ids=["below Relu", "below Clip", "by row", "by column"],
)
def test_bounds_that_do_not_ride(caps: Array, low: float) -> None:
    sketch = Sketch(x=("N", 3, 2, 2))
    clip = sketch.add("Clip", sketch.add("Conv", "x", normal(2, 3, 1, 1)), np.float32(low), np.float32(9))
    graph = load_graph(sketch.model(sketch.add("Min", clip, caps, outputs=["y"])))
    assert fused_clamps(node(graph, "Conv")) == (node(graph, "Clip"),)
    assert caps_of(node(graph, "Conv")) is None


def test_channels_of_a_product_of_rank_3_are_not_its_bounds_axis() -> None:
    sketch = Sketch(x=("N", 2, 3))
    product = sketch.add("MatMul", "x", normal(3, 5), outputs=["p"])
    graph = load_graph(sketch.model(sketch.add("Min", product, CAPS.reshape(1, 2, 1), outputs=["y"])))
    assert fused_clamps(node(graph, "MatMul")) == ()
    assert names(graph) == ["x", "p", "y"]


def test_what_is_read_elsewhere_too_keeps_its_activation_apart() -> None:
    sketch = Sketch(x=("N", 3, 4, 4))
    conv = sketch.add("Conv", "x", normal(3, 3, 1, 1), outputs=["c"])
    relu = sketch.add("Relu", conv, outputs=["r"])
    graph = load_graph(sketch.model(sketch.add("Add", conv, relu, outputs=["y"])))
    assert fused_activation(node(graph, "Conv")) is None
    assert names(graph) == ["x", "c", "r", "y"]


def test_a_graph_output_keeps_its_activation_apart() -> None:
    sketch = Sketch(x=("N", 3, 4, 4))
    conv = sketch.add("Conv", "x", normal(3, 3, 1, 1), outputs=["c"])
    graph = load_graph(sketch.model(conv, sketch.add("Relu", conv, outputs=["r"])))
    assert fused_activation(node(graph, "Conv")) is None
    assert names(graph) == ["x", "c", "r"]


def test_a_clip_whose_bound_is_computed_does_not_ride() -> None:
    sketch = Sketch(x=("N", 3), bound=())
    added = sketch.add("Add", "x", np.ones(3, np.float32), outputs=["a"])
    model = sketch.model(sketch.add("Clip", added, None, "bound", outputs=["y"]))
    assert fused_activation(node(Graph.from_onnx(model), "Add")) is None


def test_an_activation_does_not_ride_in_what_only_moves_elements() -> None:
    sketch = Sketch(x=("N", 3, 4, 4))
    pooled = sketch.add("MaxPool", "x", kernel_shape=[2, 2], outputs=["p"])
    graph = load_graph(sketch.model(sketch.add("Relu", pooled, outputs=["y"])))
    assert fused_activation(node(graph, "MaxPool")) is None
    assert names(graph) == ["x", "p", "y"]


def test_a_matmul_takes_its_bias_and_the_activation_behind_it() -> None:
    sketch = Sketch(x=("N", 4, 3))
    biased = sketch.add("Add", sketch.add("MatMul", "x", normal(3, 5)), normal(5), outputs=["b"])
    graph = load_graph(sketch.model(sketch.add("Relu", biased, outputs=["y"])))
    assert bias_of(node(graph, "MatMul")) == node(graph, "Add")
    assert fused_activation(node(graph, "MatMul")) == node(graph, "Relu")
    assert group_output(node(graph, "MatMul")).name == "y"
    assert riders(graph) == {node(graph, "Add"), node(graph, "Relu")}
    assert names(graph) == ["x", "y"]


@pytest.mark.parametrize("shape", [(4, 5), (4, 1)])
def test_what_varies_along_another_axis_is_not_a_bias(shape: tuple[int, ...]) -> None:
    sketch = Sketch(x=("N", 4, 3))
    product = sketch.add("MatMul", "x", normal(3, 5), outputs=["p"])
    graph = load_graph(sketch.model(sketch.add("Add", product, normal(*shape), outputs=["y"])))
    assert bias_of(node(graph, "MatMul")) is None
    assert names(graph) == ["x", "p", "y"]


def test_the_sum_of_two_products_is_not_a_bias() -> None:
    sketch = Sketch(x=("N", 4, 3))
    left = sketch.add("MatMul", "x", normal(3, 5), outputs=["l"])
    right = sketch.add("MatMul", "x", normal(3, 5, seed=1), outputs=["r"])
    graph = load_graph(sketch.model(sketch.add("Add", left, right, outputs=["y"])))
    assert [bias_of(product) for product in graph.nodes("MatMul")] == [None, None]
    assert names(graph) == ["x", "l", "r", "y"]


def test_a_softmax_is_left_to_the_host() -> None:
    sketch = Sketch(x=("N", 3))
    logits = sketch.add("Add", "x", np.ones(3, np.float32), outputs=["logits"])
    graph = load_graph(sketch.model(sketch.add("Softmax", logits)))
    assert names(graph) == ["x", "logits"]
