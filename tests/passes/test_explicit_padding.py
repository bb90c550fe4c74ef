"""explicit-padding: the same windows, with nothing left to defaults."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sketch import Array, Sketch, apply, assert_same, normal, ops, reason

Draw = Any
MODES = ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]


@st.composite
def windows(draw: Draw, *, pool: bool) -> tuple[tuple[int, ...], dict[str, Any]]:
    """A space of one or two axes and the attributes of a window over it; at least one window fits."""
    axes = draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 4)) for _ in range(axes)]
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    if draw(st.booleans()):
        attributes["strides"] = [draw(st.integers(1, 4)) for _ in range(axes)]
    dilations = [1] * axes
    if draw(st.booleans()):
        dilations = [draw(st.integers(1, 2)) for _ in range(axes)]
        attributes["dilations"] = dilations
    space = tuple((k - 1) * d + 1 + draw(st.integers(0, 6)) for k, d in zip(kernel, dilations, strict=True))
    mode = draw(st.sampled_from(MODES))
    if mode != "NOTSET":
        attributes["auto_pad"] = mode
    elif draw(st.booleans()):
        attributes["pads"] = [draw(st.integers(0, k - 1)) for k in kernel + kernel]
    if pool and mode == "NOTSET" and draw(st.booleans()):
        attributes["ceil_mode"] = 1
    return space, attributes


def undilated(weight: Array, dilations: list[int]) -> Array:
    """The kernel with zeros between its taps, which is what a dilated convolution computes with."""
    shape = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    stretched = np.zeros((*weight.shape[:2], *shape), np.float32)
    stretched[(..., *(slice(None, None, d) for d in dilations))] = weight
    return stretched


def is_clear(op: str, space: tuple[int, ...], attributes: dict[str, Any]) -> bool:
    """Whether runtimes agree on a window: not where it says SAME and would crop, or is a dilated pool."""
    if not attributes.get("auto_pad", "").startswith("SAME"):
        return True
    ones = [1] * len(space)
    strides, dilations = attributes.get("strides", ones), attributes.get("dilations", ones)
    if op != "Conv" and dilations != ones:
        return False
    for size, kernel, stride, dilation in zip(space, attributes["kernel_shape"], strides, dilations, strict=True):
        last = (size - 1) // stride * stride
        if last + (kernel - 1) * dilation + 1 < size - 1:
            return False
    return True


@given(windows(pool=False), st.integers(1, 2))
def test_convolutions(window: tuple[tuple[int, ...], dict[str, Any]], group: int) -> None:
    space, attributes = window
    sketch = Sketch(x=("N", 2 * group, *space))
    weight = normal(3 * group, 2, *attributes["kernel_shape"])
    model = sketch.model(sketch.add("Conv", "x", weight, group=group, outputs=["y"], **attributes))
    graph, changes = apply("explicit-padding", model)
    assert bool(changes.refused) != is_clear("Conv", space, attributes)
    if changes.refused:
        return
    (conv,) = graph.nodes()
    assert set(conv.attributes) == {"kernel_shape", "strides", "pads", "dilations", "group"}
    # ONNX Runtime takes no SAME with dilation.
    equal = Sketch(x=("N", 2 * group, *space))
    stretched = undilated(weight, attributes.get("dilations", [1] * len(space)))
    attributes |= {"kernel_shape": stretched.shape[2:], "dilations": [1] * len(space)}
    assert_same(equal.model(equal.add("Conv", "x", stretched, group=group, outputs=["y"], **attributes)), graph)


@given(windows(pool=True))
def test_max_pools(window: tuple[tuple[int, ...], dict[str, Any]]) -> None:
    space, attributes = window
    sketch = Sketch(x=("N", 2, *space))
    model = sketch.model(sketch.add("MaxPool", "x", **attributes))
    graph, changes = apply("explicit-padding", model)
    assert bool(changes.refused) != is_clear("MaxPool", space, attributes)
    if changes.refused:
        return
    (pool,) = graph.nodes()
    assert set(pool.attributes) - {"ceil_mode"} == {"kernel_shape", "strides", "pads", "dilations"}
    if pool.attribute("ceil_mode"):
        assert attributes["ceil_mode"]
        assert max(attributes["dilations"]) > 1
    if attributes.get("auto_pad", "").startswith("SAME") and any(
        (size - 1) // stride * stride + kernel < size
        for size, kernel, stride in zip(
            space, attributes["kernel_shape"], attributes.get("strides", [1] * len(space)), strict=True
        )
    ):
        return  # ONNX Runtime takes a SAME that crops by one from Conv and AveragePool, and fails on MaxPool.
    assert_same(model, graph, tolerance=0)


@given(windows(pool=True), st.booleans())
def test_average_pools(window: tuple[tuple[int, ...], dict[str, Any]], counted: bool) -> None:
    space, attributes = window
    sketch = Sketch(opset=19, x=("N", 2, *space))
    model = sketch.model(sketch.add("AveragePool", "x", count_include_pad=int(counted), **attributes))
    graph, changes = apply("explicit-padding", model)
    assert bool(changes.refused) != is_clear("AveragePool", space, attributes)
    if changes.refused:
        return
    assert ops(graph) in (["AveragePool"], ["Pad", "AveragePool"])
    if graph.nodes("AveragePool")[0].attribute("ceil_mode"):
        assert attributes["ceil_mode"]
        assert max(attributes["dilations"]) > 1
    assert_same(model, graph)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"kernel_shape": [2], "dilations": [2], "auto_pad": "SAME_UPPER"}, "is dilated"),
        ({"kernel_shape": [1], "strides": [3], "auto_pad": "SAME_UPPER"}, "lie apart"),
        ({"kernel_shape": [1], "strides": [3], "auto_pad": "SAME_LOWER"}, "lie apart"),
    ],
)
def test_refused_where_runtimes_disagree(op: str, attributes: dict[str, Any], why: str) -> None:
    sketch = Sketch(opset=19, x=("N", 2, 3))
    graph, changes = apply("explicit-padding", sketch.model(sketch.add(op, "x", **attributes)))
    assert why in reason(changes)
    assert graph.nodes()[0].attribute("auto_pad") is not None


def test_counted_pads_and_windows_past_them_are_told_apart() -> None:
    """The pads count as zeros, what the last window reaches past them does not count."""
    sketch = Sketch(x=("N", 1, 4))
    attributes = {"kernel_shape": [3], "strides": [2], "pads": [1, 0], "ceil_mode": 1, "count_include_pad": 1}
    model = sketch.model(sketch.add("AveragePool", "x", **attributes))
    graph, _ = apply("explicit-padding", model)
    assert ops(graph) == ["AveragePool"] or ops(graph) == ["Pad", "AveragePool"]
    sketch = Sketch(x=("N", 1, 5))
    model = sketch.model(sketch.add("AveragePool", "x", **attributes | {"pads": [1, 1], "strides": [3]}))
    graph, _ = apply("explicit-padding", model)
    assert_same(model, graph)


def test_a_second_run_changes_nothing() -> None:
    sketch = Sketch(x=("N", 2, 5, 5))
    y = sketch.add("Conv", "x", normal(2, 2, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
    model = sketch.model(sketch.add("MaxPool", y, kernel_shape=[2, 2], ceil_mode=1, strides=[2, 2]))
    _, first = apply("explicit-padding", model)
    _, both = apply("explicit-padding,explicit-padding", model)
    assert len(first.made) == len(both.made) == 2


def test_refused_for_weights_that_are_computed() -> None:
    sketch = Sketch(x=("N", 2, 5, 5))
    model = sketch.model(sketch.add("Conv", "x", sketch.add("Abs", normal(2, 2, 3, 3))))
    graph, changes = apply("explicit-padding", model)
    assert "is not constant" in reason(changes)
    assert_same(model, graph)


@pytest.mark.parametrize("opset", [7, 11, 18])
def test_ceil_mode_of_older_opsets(opset: int) -> None:
    sketch = Sketch(opset=opset, x=("N", 2, 7, 6))
    ceil = {"ceil_mode": 1} if opset >= 10 else {}
    model = sketch.model(sketch.add("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 1], **ceil))
    graph, _ = apply("explicit-padding", model)
    assert_same(model, graph)
