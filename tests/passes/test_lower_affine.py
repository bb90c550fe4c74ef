"""lower-affine: what is left of scales and shifts becomes a depthwise convolution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.passes.test_fold_batch_norm import norm
from tests.sketch import Sketch, apply, assert_same, normal, ops, reason


@given(st.integers(0, 2), st.sampled_from(["BatchNormalization", "Add", "Sub", "Mul", "Div"]), st.booleans())
def test_one_affine_becomes_one_convolution(space: int, op: str, scalar: bool) -> None:
    sketch = Sketch(x=("N", 3, *[4] * space))
    if op == "BatchNormalization":
        y = norm(sketch, "x", 3)
    else:
        constant = np.float32(1.5) if scalar else normal(3, *[1] * space) + np.float32(4)
        y = sketch.add(op, "x", constant)
    model = sketch.model(y)
    graph, _ = apply("lower-affine", model)
    assert ops(graph) == (["Reshape", "Conv", "Reshape"] if space == 0 else ["Conv"])
    (conv,) = graph.nodes("Conv")
    assert conv.attribute("group") == 3
    assert conv.operand(1).shape == (3, 1, *[1] * max(1, space))
    assert_same(model, graph)


def test_a_chain_becomes_one_convolution() -> None:
    sketch = Sketch(x=("N", 3, 4, 4))
    y = sketch.add("Relu", "x")
    y = sketch.add("Mul", y, normal(3, 1, 1))
    y = sketch.add("Sub", np.float32(2), y)
    y = norm(sketch, y, 3)
    model = sketch.model(sketch.add("Relu", sketch.add("Div", y, np.float32(3))))
    graph, changes = apply("lower-affine", model)
    assert ops(graph) == ["Relu", "Conv", "Relu"]
    assert len(changes.made) == 4
    assert_same(model, graph)


def test_a_chain_is_cut_where_it_is_shared() -> None:
    sketch = Sketch(x=("N", 3, 4, 4))
    middle = sketch.add("Mul", "x", normal(3, 1, 1))
    model = sketch.model(sketch.add("Add", middle, normal(3, 1, 1)), middle)
    graph, _ = apply("lower-affine", model)
    assert ops(graph) == ["Conv", "Conv"]
    assert_same(model, graph)


def test_the_bias_of_a_matmul_stays_an_add() -> None:
    sketch = Sketch(x=("N", 6, 4))
    model = sketch.model(sketch.add("Add", sketch.add("MatMul", "x", normal(4, 5)), normal(5)))
    graph, changes = apply("lower-affine", model)
    assert ops(graph) == ["MatMul", "Add"]
    assert "is the bias" in reason(changes)
    assert_same(model, graph)


@pytest.mark.parametrize(
    ("shape", "constant", "why"),
    [
        ((3, 4, 4), (4,), "along axis 3"),
        ((3, 4, 4), (3, 4, 4), "neither scalar nor one number per channel"),
        ((3, 2, 2, 2), (), "has rank 5"),
    ],
)
def test_refused_where_it_is_no_depthwise_convolution(
    shape: tuple[int, ...], constant: tuple[int, ...], why: str
) -> None:
    sketch = Sketch(x=("N", *shape))
    model = sketch.model(sketch.add("Mul", "x", normal(*constant)))
    graph, changes = apply("lower-affine", model)
    assert ops(graph) == ["Mul"]
    assert why in reason(changes)
    assert_same(model, graph)


def test_two_activations_are_left_alone() -> None:
    sketch = Sketch(x=("N", 4))
    graph, changes = apply("lower-affine", sketch.model(sketch.add("Add", "x", sketch.add("Relu", "x"))))
    assert ops(graph) == ["Relu", "Add"]
    assert changes.refused == []
