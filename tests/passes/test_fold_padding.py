"""fold-padding: pads move into a window op exactly where that changes no number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sketch import Sketch, apply, assert_same, normal, ops, reason

PADS = st.lists(st.integers(0, 2), min_size=4, max_size=4)


def pad(sketch: Sketch, x: str, amounts: list[int], value: float = 0) -> str:
    begin, end = amounts[:2], amounts[2:]
    return str(sketch.add("Pad", x, np.array([0, 0, *begin, 0, 0, *end]), np.float32(value), name="pad"))


def window(op: str, sketch: Sketch, x: str, **attributes: Any) -> str:
    if op == "Conv":
        return str(sketch.add("Conv", x, normal(2, 3, *attributes["kernel_shape"]), name="window", **attributes))
    return str(sketch.add(op, x, name="window", **attributes))


@given(PADS, PADS, st.integers(1, 2), st.integers(1, 2))
def test_zeros_into_a_convolution(amounts: list[int], own: list[int], stride: int, dilation: int) -> None:
    sketch = Sketch(x=("N", 3, 5, 5))
    attributes = {"pads": own, "strides": [stride, 1], "dilations": [1, dilation], "kernel_shape": [3, 2]}
    model = sketch.model(window("Conv", sketch, pad(sketch, "x", amounts), **attributes))
    graph, _ = apply("fold-padding", model)
    assert ops(graph) == ["Conv"]
    assert_same(model, graph)


@given(PADS, st.booleans(), st.integers(1, 3))
def test_zeros_into_an_average_that_has_no_pads(amounts: list[int], counted: bool, stride: int) -> None:
    sketch = Sketch(x=("N", 3, 5, 5))
    attributes = {"kernel_shape": [3, 3], "strides": [stride, stride], "count_include_pad": int(counted)}
    model = sketch.model(window("AveragePool", sketch, pad(sketch, "x", amounts), **attributes))
    graph, _ = apply("fold-padding", model)
    assert ops(graph) == ["AveragePool"]
    assert_same(model, graph)


@given(PADS, st.sampled_from(["Relu", "Clip", "Sigmoid", "HardSigmoid"]), st.integers(1, 3))
def test_zeros_into_a_maximum_of_what_is_never_negative(amounts: list[int], op: str, stride: int) -> None:
    sketch = Sketch(x=("N", 3, 5, 5))
    y = sketch.add("Clip", "x", np.float32(0), np.float32(1)) if op == "Clip" else sketch.add(op, "x")
    model = sketch.model(
        window("MaxPool", sketch, pad(sketch, y, amounts), kernel_shape=[3, 3], strides=[stride, 1], pads=[0, 0, 0, 0])
    )
    graph, _ = apply("fold-padding", model)
    assert ops(graph) == [op, "MaxPool"]
    assert_same(model, graph, tolerance=0)


@given(PADS, st.integers(1, 2))
def test_minus_infinity_into_a_maximum(amounts: list[int], dilation: int) -> None:
    sketch = Sketch(x=("N", 3, 5, 5))
    y = pad(sketch, "x", amounts, -np.inf)
    model = sketch.model(window("MaxPool", sketch, y, kernel_shape=[3, 3], dilations=[dilation, 1]))
    graph, _ = apply("fold-padding", model)
    assert ops(graph) == ["MaxPool"]
    assert_same(model, graph, tolerance=0)


THREE = {"kernel_shape": [3, 3]}


@pytest.mark.parametrize(
    ("op", "value", "attributes", "why"),
    [
        ("Conv", 1.5, THREE, "it pads with 1.5, a Conv with zeros"),
        ("AveragePool", 1.5, THREE, "it pads with 1.5, an AveragePool with zeros"),
        ("AveragePool", 0, THREE | {"pads": [1, 1, 1, 1]}, "does not count its own padding"),
        ("AveragePool", 0, {"kernel_shape": [1, 1]}, "nothing but padding"),
        ("AveragePool", 0, THREE | {"ceil_mode": 1}, "run explicit-padding first"),
        ("MaxPool", 0, THREE, "v_x may be negative"),
        ("MaxPool", -1, THREE, "it pads with -1.0, a MaxPool with what never wins"),
        ("MaxPool", 0, THREE | {"dilations": [2, 2]}, "may hold nothing but padding"),
        ("MaxPool", 0, {"kernel_shape": [1, 3]}, "nothing but padding"),
        ("Conv", 0, THREE | {"auto_pad": "SAME_UPPER"}, "run explicit-padding first"),
    ],
)
def test_refused_where_it_would_change_numbers(op: str, value: float, attributes: dict[str, Any], why: str) -> None:
    sketch = Sketch(x=("N", 3, 6, 6))
    sketch.add("Tanh", "x", outputs=["v_x"])
    model = sketch.model(window(op, sketch, pad(sketch, "v_x", [1, 1, 1, 1], value), **attributes))
    graph, changes = apply("fold-padding", model)
    assert why in reason(changes)
    assert_same(model, graph)


def test_refused_where_channels_are_padded_or_cropped() -> None:
    for amounts, why in (([0, 1, 0, 0, 0, 0, 0, 0], "pads channels"), ([0, 0, -1, 0, 0, 0, 1, 0], "crops")):
        sketch = Sketch(x=("N", 3, 6, 6))
        y = sketch.add("Pad", "x", np.array(amounts), np.float32(0))
        model = sketch.model(sketch.add("MaxPool", y, kernel_shape=[3, 3]))
        graph, changes = apply("fold-padding", model)
        assert why in reason(changes)
        assert_same(model, graph, tolerance=0)


def test_refused_where_the_padded_value_is_shared() -> None:
    sketch = Sketch(x=("N", 3, 6, 6))
    y = pad(sketch, "x", [1, 1, 1, 1])
    model = sketch.model(window("Conv", sketch, y, **THREE), sketch.add("Relu", y))
    graph, changes = apply("fold-padding", model)
    assert "is used more than once" in reason(changes)
    assert_same(model, graph)
    sketch = Sketch(x=("N", 3, 6, 6))
    y = pad(sketch, "x", [1, 1, 1, 1])
    _, changes = apply("fold-padding", sketch.model(window("Conv", sketch, y, **THREE), y))
    assert "is an output of the graph" in reason(changes)


def test_refused_in_front_of_other_ops_and_in_other_modes() -> None:
    sketch = Sketch(x=("N", 3, 6, 6))
    _, changes = apply("fold-padding", sketch.model(sketch.add("Relu", pad(sketch, "x", [1, 1, 1, 1]))))
    assert "does not go into a Conv or a pool" in reason(changes)
    sketch = Sketch(x=("N", 3, 6, 6))
    y = sketch.add("Pad", "x", np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="reflect")
    _, changes = apply("fold-padding", sketch.model(window("Conv", sketch, y, **THREE)))
    assert "run canonicalize-pads first" in reason(changes)
