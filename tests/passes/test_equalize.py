"""equalize: the same function, with equal weight ranges on both sides of each channel."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsmith.importing.load import load_graph
from bitsmith.passes.equalize import ranges_in, ranges_out
from bitsmith.pipelines import NORMALISE
from tests.sketch import Array, Sketch, apply, assert_same, normal, reason

BETWEEN = ["none", "Relu", "LeakyRelu", "PRelu", "MaxPool", "AveragePool", "Pad"]


def uneven(*shape: int, seed: int) -> Array:
    """Weights whose output channels differ in range by up to a thousand."""
    spread = 10 ** np.random.default_rng(seed).uniform(-1.5, 1.5, (shape[0], *[1] * (len(shape) - 1)))
    return (normal(*shape, seed=seed) * spread).astype(np.float32)


def between(sketch: Sketch, op: str, x: str) -> str:
    if op == "none":
        return x
    if op == "PRelu":
        return str(sketch.add(op, x, normal(4, 1, 1, seed=3)))
    if op == "Pad":
        return str(sketch.add(op, x, np.array([0, 0, 1, 0, 0, 0, 0, 1])))
    pool = {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]} if op.endswith("Pool") else {}
    return str(sketch.add(op, x, **pool))


def chain(ops: list[str], flatten: bool) -> onnx.ModelProto:
    sketch = Sketch(x=("N", 3, 4, 4))
    y = between(sketch, ops[0], sketch.add("Conv", "x", uneven(4, 3, 1, 1, seed=1), normal(4)))
    y = between(sketch, ops[1], sketch.add("Conv", y, uneven(4, 1, 1, 1, seed=2), normal(4), group=4))
    y = between(sketch, ops[2], sketch.add("Conv", y, uneven(4, 2, 1, 1, seed=4), normal(4), group=2))
    y = y if flatten else sketch.add("GlobalAveragePool", y)
    y = sketch.add("Flatten", y)
    features = 4
    if flatten:
        side = 4 + sum(op == "Pad" for op in ops)
        features = 4 * side * side
    return sketch.model(sketch.add("Gemm", y, normal(5, features, seed=5), normal(5), transB=1))


@settings(max_examples=25)
@given(st.lists(st.sampled_from(BETWEEN), min_size=3, max_size=3), st.booleans())
def test_chains_keep_their_function_and_their_ranges_meet(ops: list[str], flatten: bool) -> None:
    model = chain(ops, flatten)
    graph, _ = apply(f"{NORMALISE},equalize{{iterations=300}}", model)
    assert_same(model, graph)
    linear = graph.nodes("Conv", "Gemm")
    for first, second in pairwise(linear):
        made = ranges_out(first)
        repeat = len(ranges_in(second)) // len(made)
        read = ranges_in(second, repeat)
        np.testing.assert_allclose(made, read, rtol=1e-4)
    assert apply("equalize", graph)[1].made == []


def test_quantizing_per_tensor_loses_less() -> None:
    def sqnr(graph_weights: Array) -> float:
        scale = np.abs(graph_weights).max() / 127
        per_channel = np.abs(graph_weights).max(axis=(1, 2, 3), keepdims=True)
        error = np.round(graph_weights / scale) * scale - graph_weights
        return float(np.mean((graph_weights / per_channel) ** 2) / np.mean((error / per_channel) ** 2))

    model = chain(["Relu", "Relu", "Relu"], False)
    before, after = load_graph(model), apply(f"{NORMALISE},equalize", model)[0]
    weights = [graph.nodes("Conv")[0].constant(1) for graph in (before, after)]
    assert weights[0] is not None
    assert weights[1] is not None
    assert sqnr(weights[1]) > 2 * sqnr(weights[0])


def test_a_dead_channel_is_left_alone() -> None:
    first = normal(4, 3, 1, 1)
    first[1] = 0
    sketch = Sketch(x=("N", 3, 4, 4))
    y = sketch.add("Relu", sketch.add("Conv", "x", first, normal(4)))
    second = normal(2, 4, 1, 1, seed=2)
    model = sketch.model(sketch.add("Conv", y, second, normal(2)))
    graph, _ = apply("equalize", model)
    assert_same(model, graph)
    after = graph.nodes("Conv")[1].constant(1)
    assert after is not None
    np.testing.assert_array_equal(after[:, 1], second[:, 1])


@pytest.mark.parametrize(
    ("op", "operands", "why"),
    [
        ("Clip", [np.float32(0), np.float32(6)], "not positively homogeneous"),
        ("Sigmoid", [], "not known to commute"),
        ("Pad", [np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(2)], "more than pad space with zeros"),
        ("Reshape", [np.array([0, 16, 2, 2])], "mixes channels with space"),
    ],
)
def test_refused_between(op: str, operands: list[Array], why: str) -> None:
    sketch = Sketch(x=("N", 4, 4, 4))
    y = sketch.add(op, sketch.add("Conv", "x", normal(4, 4, 1, 1), normal(4)), *operands)
    channels = 16 if op == "Reshape" else 4
    model = sketch.model(sketch.add("Sigmoid", sketch.add("Conv", y, normal(2, channels, 1, 1), normal(2))))
    graph, changes = apply("equalize", model)
    assert why in changes.refused[0][1]
    assert changes.made == []
    assert_same(model, graph)


@pytest.mark.parametrize(("shown", "why"), [(True, "is an output"), (False, "is used elsewhere too")])
def test_refused_where_another_sees_the_value(shown: bool, why: str) -> None:
    sketch = Sketch(x=("N", 4, 4, 4))
    y = sketch.add("Conv", "x", normal(4, 4, 1, 1), normal(4))
    z = sketch.add("Sigmoid", sketch.add("Relu", y))
    _, changes = apply("equalize", sketch.model(z, y) if shown else sketch.model(sketch.add("Mul", y, z)))
    assert why in reason(changes)
    assert changes.made == []


@pytest.mark.parametrize("name", ["resnet8_cifar10.onnx", "dscnn_kws.onnx"])
def test_real_models_keep_their_outputs(name: str, model_file: Callable[[str], Path]) -> None:
    model = onnx.load(model_file(name))
    graph, changes = apply(f"{NORMALISE},equalize", model)
    assert changes.made
    assert_same(model, graph)


def test_refused_where_float32_cannot_hold_the_bias() -> None:
    sketch = Sketch(x=("N", 3, 4, 4))
    bias = np.array([1e36, 0, 0, 0], np.float32)
    y = sketch.add("Conv", "x", normal(4, 3, 1, 1) * np.float32(1e-3), bias)
    model = sketch.model(sketch.add("Conv", y, normal(2, 4, 1, 1) * np.float32(1e6), normal(2)))
    graph, changes = apply("equalize", model)
    assert changes.made == []
    assert len([why for where, why in changes.refused if "float32" in why or "finite" in why]) == 1
    after = graph.nodes("Conv")[1].constant(1)
    assert after is not None
    np.testing.assert_array_equal(after, normal(2, 4, 1, 1) * np.float32(1e6))
