"""lower-reshapes, lower-reductions and the canonicalize-* passes: one form each, and the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sketch import Sketch, apply, assert_same, normal, ops, reason

Draw = Any


# lower-reshapes


@pytest.mark.parametrize(
    "build",
    [
        lambda s: s.add("Flatten", "x"),
        lambda s: s.add("Flatten", "x", axis=-3),
        lambda s: s.add("Reshape", "x", np.array([0, -1])),
        lambda s: s.add("Reshape", "x", np.array([-1, 2, 6])),
        lambda s: s.add("Reshape", "x", np.array([-1, 0, 4])),
        lambda s: s.add("Reshape", "x", np.array([-1, 1, 12]), allowzero=1),
        lambda s: s.add("Unsqueeze", "x", np.array([-1, 1])),
        lambda s: s.add("Squeeze", s.add("Unsqueeze", "x", np.array([1, 4])), np.array([1])),
        lambda s: s.add("Squeeze", s.add("Unsqueeze", "x", np.array([2]))),
    ],
)
def test_every_way_to_reshape_becomes_one(build: Any) -> None:
    sketch = Sketch(x=("N", 3, 2, 2))
    model = sketch.model(sketch.add("Relu", build(sketch)))
    graph, _ = apply("lower-reshapes", model)
    assert set(ops(graph)) == {"Reshape", "Relu"}
    for node in graph.nodes("Reshape"):
        assert node.constant(1).tolist() == [0, *node.output.sample_shape]  # type: ignore[union-attr]
        assert not node.attributes
    assert_same(model, graph)


def test_the_arithmetic_behind_a_target_goes() -> None:
    sketch = Sketch(x=("N", 3, 2, 2))
    batch = sketch.add("Unsqueeze", sketch.add("Gather", sketch.add("Shape", "x"), np.array(0)), np.array([0]))
    target = sketch.add("Concat", batch, np.array([-1]), axis=0)
    model = sketch.model(sketch.add("Reshape", "x", target))
    graph, _ = apply("lower-reshapes", model)
    assert ops(graph) == ["Reshape"]
    assert_same(model, graph)


def test_a_reshape_of_a_constant_is_left_to_constant_folding() -> None:
    sketch = Sketch(x=("N", 4))
    model = sketch.model(sketch.add("Add", "x", sketch.add("Reshape", normal(2, 2), np.array([4]))))
    graph, changes = apply("lower-reshapes", model)
    assert "fold-constants" in reason(changes)
    assert ops(apply("fold-constants", graph)[0]) == ["Add"]


def test_a_reshape_of_shape_arithmetic_is_left_alone() -> None:
    sketch = Sketch(x=("N", 4))
    shape = sketch.add("Reshape", sketch.add("Shape", "x"), np.array([1, 2]))
    _, changes = apply("lower-reshapes", sketch.model(sketch.add("Cast", shape, to=1)))
    assert "is not the batch" in reason(changes)


# lower-reductions


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize(
    ("shape", "axes", "op"),
    [
        ((3, 4, 5), [2, 3], "GlobalAveragePool"),
        ((3, 4, 5), [-1, -2], "GlobalAveragePool"),
        ((3, 4), [2], "GlobalAveragePool"),
        ((3, 4, 5), [3], "AveragePool"),
        ((3, 4, 5), [2], "AveragePool"),
        ((4, 5, 3), [1, 2], "GlobalAveragePool"),
        ((4, 5, 3), [-2, -3], "GlobalAveragePool"),
        ((4, 5, 3), [1, 3], "GlobalAveragePool"),
        ((4, 3), [1], "GlobalAveragePool"),
    ],
)
@pytest.mark.parametrize("reduction", ["ReduceMean", "ReduceMax"])
def test_reductions_over_space_become_pools(
    reduction: str, opset: int, keepdims: int, shape: tuple[int, ...], axes: list[int], op: str
) -> None:
    op = op if reduction == "ReduceMean" else "MaxPool"
    sketch = Sketch(opset=opset, x=("N", *shape))
    y = (
        sketch.add(reduction, "x", np.array(axes), keepdims=keepdims)
        if opset >= 18
        else sketch.add(reduction, "x", axes=axes, keepdims=keepdims)
    )
    model = sketch.model(y)
    graph, _ = apply("lower-reductions", model)
    assert op in ops(graph)
    assert set(ops(graph)) <= {op, "Reshape", "Transpose"}
    assert ("Transpose" in ops(graph)) == (1 in [axis % (len(shape) + 1) for axis in axes])
    assert_same(model, graph)


@pytest.mark.parametrize(
    ("shape", "axes", "why"),
    [
        ((3, 4, 5), [1], "reduces axes [1], not space alone"),
        ((3, 4, 5), [1, 2, 3], "not space alone"),
        ((3, 4), [1, 2], "not space alone"),
        ((3, 4, 5), [0, 2], "not space alone"),
        ((3, 2, 4, 5), [2, 3, 4], "has rank 5"),
        ((3,), [1], "has rank 2"),
    ],
)
def test_other_means_are_refused(shape: tuple[int, ...], axes: list[int], why: str) -> None:
    sketch = Sketch(opset=18, x=("N", *shape))
    graph, changes = apply("lower-reductions", sketch.model(sketch.add("ReduceMean", "x", np.array(axes))))
    assert why in reason(changes)
    assert ops(graph) == ["ReduceMean"]


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5)])
def test_a_global_maximum_is_a_pool_of_one_window(shape: tuple[int, ...]) -> None:
    sketch = Sketch(x=("N", *shape))
    model = sketch.model(sketch.add("Flatten", sketch.add("GlobalMaxPool", "x")))
    graph, _ = apply("lower-reductions", model)
    assert ops(graph) == ["MaxPool", "Flatten"]
    assert_same(model, graph)


def test_a_mean_over_everything_and_of_constants_is_refused() -> None:
    sketch = Sketch(opset=18, x=("N", 3, 4))
    _, changes = apply("lower-reductions", sketch.model(sketch.add("ReduceMean", "x")))
    assert "the batch with them" in reason(changes)
    sketch = Sketch(opset=18, x=("N", 3, 4))
    mean = sketch.add("ReduceMean", normal(1, 3, 4), np.array([2]))
    _, changes = apply("lower-reductions", sketch.model(sketch.add("Add", "x", mean)))
    assert "is constant" in reason(changes)


# canonicalize-slices


@st.composite
def slices(draw: Draw) -> tuple[tuple[int, ...], dict[int, tuple[int, int, int]]]:
    """A sample shape, and per axis a start, end and step that take something."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
    picked = {}
    for axis, size in enumerate(shape, start=1):
        if draw(st.booleans()):
            start, end = draw(st.integers(-size - 2, size + 2)), draw(st.integers(-size - 9, 2**31))
            step = draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
            if len(range(*slice(start, end, step).indices(size))):
                picked[axis if draw(st.booleans()) else axis - len(shape) - 1] = (start, end, step)
    return shape, picked


@given(slices(), st.booleans())
def test_slices(drawn: tuple[tuple[int, ...], dict[int, tuple[int, int, int]]], backwards: bool) -> None:
    shape, picked = drawn
    axes = list(picked)[:: -1 if backwards else 1]
    columns = [np.array([picked[axis][i] for axis in axes], np.int64) for i in range(3)]
    sketch = Sketch(x=("N", *shape))
    model = sketch.model(sketch.add("Slice", "x", columns[0], columns[1], np.array(axes, np.int64), columns[2]))
    graph, changes = apply("canonicalize-slices", model)
    assert changes.refused == []
    (node,) = graph.nodes()
    starts, ends, canonical, steps = (node.constant(index) for index in range(1, 5))
    assert starts is not None
    assert ends is not None
    assert canonical is not None
    assert steps is not None
    assert canonical.tolist() == sorted(axis % (len(shape) + 1) for axis in axes)
    for axis, start, end, step in zip(canonical, starts, ends, steps, strict=True):
        assert 0 <= start < shape[axis - 1]
        assert end <= shape[axis - 1]
        assert end >= 0 or step < 0
    assert_same(model, graph, tolerance=0)
    assert apply("canonicalize-slices", graph)[1].made == []


def test_a_slice_without_axes_and_with_the_whole_batch() -> None:
    sketch = Sketch(x=("N", 5, 6))
    most = np.iinfo(np.int64).max
    model = sketch.model(sketch.add("Slice", "x", np.array([0, 1, -2]), np.array([most, 4, most])))
    graph, _ = apply("canonicalize-slices", model)
    assert graph.nodes()[0].constant(3).tolist() == [1, 2]  # type: ignore[union-attr]
    assert_same(model, graph, tolerance=0)


@given(st.integers(1, 3), st.lists(st.integers(1, 3), min_size=1, max_size=4), st.booleans())
def test_splits(axis: int, sizes: list[int], negative: bool) -> None:
    shape = [2, 2, 2]
    shape[axis - 1] = sum(sizes)
    sketch = Sketch(x=("N", *shape))
    parts = sketch.add(
        "Split", "x", np.array(sizes), axis=axis - 4 if negative else axis, outputs=[f"p{i}" for i in range(len(sizes))]
    )
    model = sketch.model(*([parts] if isinstance(parts, str) else parts))
    graph, _ = apply("canonicalize-slices", model)
    assert ops(graph) == ["Slice"] * len(sizes)
    assert_same(model, graph, tolerance=0)


def test_refused_slices() -> None:
    """A hundred samples at most is all of them at the batches that are tried on import, but not at every batch."""
    sketch = Sketch(x=("N", 4, 4))
    y = sketch.add("Slice", "x", np.array([0]), np.array([100]), np.array([0]))
    _, changes = apply("canonicalize-slices", sketch.model(y))
    assert "slices the batch" in reason(changes)


def test_slices_to_a_computed_end_wait_for_constant_folding() -> None:
    sketch = Sketch(x=("N", 4, 4))
    end = sketch.add("Gather", sketch.add("Shape", "x"), np.array([2]))
    model = sketch.model(sketch.add("Slice", "x", np.array([1]), end, np.array([1])))
    graph, changes = apply("canonicalize-slices", model)
    assert "is not constant" in reason(changes)
    graph, changes = apply("fold-constants,canonicalize-slices", graph)
    assert ops(graph) == ["Slice"]
    assert changes.refused == []
    assert_same(model, graph, tolerance=0)


# canonicalize-pads


@given(st.lists(st.integers(-2, 3), min_size=6, max_size=6), st.sampled_from([None, 0.0, 1.5]), st.booleans())
def test_pads(amounts: list[int], value: float | None, with_axes: bool) -> None:
    sketch = Sketch(opset=18, x=("N", 5, 6, 5))
    operands: list[Any] = [np.array(amounts if with_axes else [0, *amounts[:3], 0, *amounts[3:]])]
    if value is not None or with_axes:
        operands.append(None if value is None else np.float32(value))
    if with_axes:
        operands.append(np.array([1, -2, 3]))
    model = sketch.model(sketch.add("Pad", "x", *operands))
    graph, changes = apply("canonicalize-pads", model)
    assert changes.refused == []
    assert ops(graph) == (["Slice", "Pad"] if min(amounts) < 0 else ["Pad"])
    (pad,) = graph.nodes("Pad")
    pads, fill = pad.constant(1), pad.constant(2)
    assert pads is not None
    assert fill is not None
    assert len(pads) == 8
    assert pads.min() >= 0
    assert fill.shape == ()
    assert len(pad.inputs) == 3
    assert_same(model, graph, tolerance=0)
    assert apply("canonicalize-pads", graph)[1].made == []


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_pads_by_what_is_near_are_refused(mode: str) -> None:
    sketch = Sketch(x=("N", 4, 4))
    _, changes = apply(
        "canonicalize-pads", sketch.model(sketch.add("Pad", "x", np.array([0, 0, 1, 0, 0, 1]), mode=mode))
    )
    assert mode in reason(changes)


def test_a_pad_by_what_is_computed_is_refused() -> None:
    sketch = Sketch(x=("N", 4))
    value = sketch.add("Abs", np.float32(-2))
    _, changes = apply("canonicalize-pads", sketch.model(sketch.add("Pad", "x", np.array([0, 1, 0, 1]), value)))
    assert "is not constant" in reason(changes)


# canonicalize-resizes

TRANSFORMATIONS = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


@given(
    st.sampled_from(TRANSFORMATIONS),
    st.sampled_from(ROUNDINGS),
    st.lists(st.sampled_from([0.5, 0.6, 1.0, 1.5, 2.0, 3.0]), min_size=2, max_size=2),
    st.sampled_from(["scales", "axes", "sizes", "axes of sizes", "computed"]),
)
def test_resizes(transformation: str, rounding: str, factors: list[float], given_as: str) -> None:
    sketch = Sketch(opset=19, x=("N", 2, 5, 6))
    sizes = np.array([int(5 * factors[0]), int(6 * factors[1])])
    attributes: dict[str, Any] = {"coordinate_transformation_mode": transformation, "nearest_mode": rounding}
    operands: list[Any]
    if given_as == "scales":
        operands = ["", np.array([1, 1, *factors], np.float32)]
    elif given_as == "axes":
        operands, attributes["axes"] = ["", np.array(factors, np.float32)], [2, 3]
    elif given_as == "axes of sizes":
        operands, attributes["axes"] = ["", "", sizes], [-2, -1]
    else:
        shape = sketch.add("Slice", sketch.add("Shape", "x"), np.array([0]), np.array([2]))
        operands = ["", "", sketch.add("Concat", shape, sizes, axis=0)]
    model = sketch.model(sketch.add("Resize", "x", *operands, mode="nearest", **attributes))
    graph, changes = apply("canonicalize-resizes", model)
    assert changes.refused == []
    (node,) = graph.nodes()
    scales, wanted = node.constant(2), node.constant(3)
    assert (scales is None) != (wanted is None)
    assert (scales is not None and scales.size == 4) or (wanted is not None and wanted.tolist() == [2, *sizes])
    assert_same(model, graph, tolerance=0)
    assert apply("canonicalize-resizes", graph)[1].made == []


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"mode": "linear"}, "mode linear"),
        ({"mode": "cubic"}, "mode cubic"),
        ({"keep_aspect_ratio_policy": "not_larger", "axes": [2, 3]}, "aspect ratio"),
        ({"coordinate_transformation_mode": "tf_crop_and_resize"}, "region of interest"),
    ],
)
def test_other_resizes_are_refused(attributes: dict[str, Any], why: str) -> None:
    sketch = Sketch(opset=18, x=("N", 2, 4, 4))
    if "axes" in attributes:
        operands: list[Any] = ["", "", np.array([8, 9])]
    elif "coordinate_transformation_mode" in attributes:
        operands = [np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32), np.array([1, 1, 2, 2], np.float32)]
    else:
        operands = ["", np.array([1, 1, 2, 2], np.float32)]
    _, changes = apply("canonicalize-resizes", sketch.model(sketch.add("Resize", "x", *operands, **attributes)))
    assert why in reason(changes)


def test_a_channels_last_mean_after_a_channels_first_convolution_needs_no_transpose() -> None:
    sketch = Sketch(x=("N", 2, 4, 4))
    y = sketch.add("Transpose", sketch.add("Conv", "x", normal(3, 2, 1, 1)), perm=[0, 2, 3, 1])
    model = sketch.model(sketch.add("ReduceMean", y, axes=[1, 2], keepdims=0))
    graph, _ = apply("lower-reductions,remove-no-ops", model)
    assert ops(graph) == ["Conv", "GlobalAveragePool", "Reshape"]
    assert_same(model, graph)
