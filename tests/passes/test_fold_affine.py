"""fold-affine: constants beside a linear op go into it; others take the simpler of two forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sketch import Array, Sketch, apply, assert_same, normal, ops, reason

OPERATORS = ["Add", "Sub", "Mul", "Div"]


def away_from_zero(*shape: int) -> Array:
    array = normal(*shape, seed=9)
    return np.where(np.abs(array) < 0.3, np.float32(0.7), array)


def affine(sketch: Sketch, op: str, x: str, constant: Array, left: bool = False) -> str:
    return str(sketch.add(op, *((constant, x) if left else (x, constant))))


@given(st.sampled_from(OPERATORS), st.booleans(), st.sampled_from([(), (1,), (4, 1, 1), (1, 4, 1, 1), (1, 1, 1)]))
def test_into_the_convolution_before(op: str, left: bool, shape: tuple[int, ...]) -> None:
    left = left and op != "Div"
    sketch = Sketch(x=("N", 2, 5, 5))
    y = sketch.add("Conv", "x", normal(4, 1, 3, 3), group=2, pads=[1, 1, 1, 1])
    model = sketch.model(affine(sketch, op, y, away_from_zero(*shape), left))
    graph, _ = apply("fold-affine", model)
    assert ops(graph) == ["Conv"]
    assert_same(model, graph)


@given(st.sampled_from(OPERATORS), st.sampled_from([(), (4, 1, 1), (1, 4, 1, 1)]))
def test_into_the_convolution_after(op: str, shape: tuple[int, ...]) -> None:
    sketch = Sketch(x=("N", 4, 5, 5))
    y = affine(sketch, op, "x", away_from_zero(*shape))
    model = sketch.model(sketch.add("Conv", y, normal(6, 2, 3, 3), group=2))
    graph, _ = apply("fold-affine", model)
    assert ops(graph) == ["Conv"]
    assert_same(model, graph)


def test_a_scale_goes_into_a_padded_convolution_and_a_shift_does_not() -> None:
    for op, expected in (("Mul", ["Conv"]), ("Add", ["Add", "Conv"])):
        sketch = Sketch(x=("N", 4, 5, 5))
        y = affine(sketch, op, "x", away_from_zero(4, 1, 1))
        model = sketch.model(sketch.add("Conv", y, normal(3, 4, 3, 3), pads=[1, 0, 0, 0]))
        graph, _ = apply("fold-affine", model)
        assert ops(graph) == expected
        assert_same(model, graph)


@pytest.mark.parametrize("group", [1, 2])
def test_a_scale_goes_into_a_transposed_convolution_on_either_side(group: int) -> None:
    sketch = Sketch(x=("N", 4, 5, 5))
    y = affine(sketch, "Mul", "x", away_from_zero(4, 1, 1))
    y = sketch.add("ConvTranspose", y, normal(4, 3, 3, 3), group=group, strides=[2, 2])
    model = sketch.model(affine(sketch, "Mul", y, away_from_zero(3 * group, 1, 1)))
    graph, _ = apply("fold-affine", model)
    assert ops(graph) == ["ConvTranspose"]
    assert_same(model, graph)


@given(st.sampled_from(OPERATORS), st.booleans(), st.sampled_from([(), (5,), (1, 5)]))
def test_a_matmul_of_rank_2_becomes_a_gemm_with_the_constants_in_it(
    op: str, left: bool, shape: tuple[int, ...]
) -> None:
    sketch = Sketch(x=("N", 4))
    y = affine(sketch, op, sketch.add("MatMul", "x", normal(4, 5)), away_from_zero(*shape), left and op != "Div")
    model = sketch.model(y)
    graph, _ = apply("fold-affine", model)
    assert ops(graph) == ["Gemm"]
    assert_same(model, graph)


@given(st.sampled_from(OPERATORS), st.sampled_from([(), (4,)]))
def test_into_the_gemm_after(op: str, shape: tuple[int, ...]) -> None:
    sketch = Sketch(x=("N", 4))
    model = sketch.model(
        sketch.add("Gemm", affine(sketch, op, "x", away_from_zero(*shape)), normal(4, 3), normal(3), alpha=2.0)
    )
    graph, _ = apply("fold-affine", model)
    assert ops(graph) == ["Gemm"]
    assert_same(model, graph)


def test_the_bias_of_a_matmul_of_rank_3_stays_an_add_and_takes_part() -> None:
    sketch = Sketch(x=("N", 6, 4))
    y = sketch.add("Add", sketch.add("MatMul", "x", normal(4, 5)), normal(5, seed=2), name="bias")
    y = sketch.add("Mul", y, away_from_zero(5), name="scale")
    y = sketch.add("Sub", y, away_from_zero(1, 1, 5), name="shift")
    model = sketch.model(y)
    graph, changes = apply("fold-affine", model)
    assert ops(graph) == ["MatMul", "Add"]
    assert len(changes.made) == 2
    assert changes.refused == []
    assert_same(model, graph)


def test_a_scale_after_a_matmul_of_rank_3_goes_into_it() -> None:
    sketch = Sketch(x=("N", 6, 4))
    model = sketch.model(affine(sketch, "Div", sketch.add("MatMul", "x", normal(4, 5)), np.float32(2.5)))
    graph, _ = apply("fold-affine", model)
    assert ops(graph) == ["MatMul"]
    assert_same(model, graph)


@pytest.mark.parametrize(("op", "simpler"), [("Sub", "Add"), ("Div", "Mul")])
@pytest.mark.parametrize("shape", [(), (3, 1, 1), (3, 4, 4)])
def test_what_stays_takes_the_simpler_form(op: str, simpler: str, shape: tuple[int, ...]) -> None:
    sketch = Sketch(x=("N", 3, 4, 4))
    model = sketch.model(affine(sketch, op, sketch.add("Relu", "x"), away_from_zero(*shape)))
    graph, changes = apply("fold-affine", model)
    assert ops(graph) == ["Relu", simpler]
    assert len(changes.refused) == 1
    assert_same(model, graph)


def test_refused_where_the_constant_varies_over_space() -> None:
    sketch = Sketch(x=("N", 3, 4, 4))
    model = sketch.model(affine(sketch, "Mul", sketch.add("Conv", "x", normal(3, 3, 1, 1)), normal(3, 4, 4)))
    graph, changes = apply("fold-affine", model)
    assert "neither scalar nor one number per channel" in reason(changes)
    assert_same(model, graph)


def test_refused_along_another_axis() -> None:
    sketch = Sketch(x=("N", 4, 4, 4))
    model = sketch.model(affine(sketch, "Mul", sketch.add("Conv", "x", normal(4, 4, 1, 1)), normal(4)))
    graph, changes = apply("fold-affine", model)
    assert "along axis 3" in reason(changes)
    assert_same(model, graph)


def test_refused_where_the_value_is_shared() -> None:
    sketch = Sketch(x=("N", 3, 4, 4))
    conv = sketch.add("Conv", "x", normal(3, 3, 1, 1))
    model = sketch.model(affine(sketch, "Mul", conv, normal(3, 1, 1)), conv)
    graph, changes = apply("fold-affine", model)
    assert "is used elsewhere too" in reason(changes)
    assert_same(model, graph)


def test_refused_where_the_bias_of_a_matmul_is_shared() -> None:
    sketch = Sketch(x=("N", 6, 4))
    biased = sketch.add("Add", sketch.add("MatMul", "x", normal(4, 5)), normal(5))
    model = sketch.model(affine(sketch, "Mul", biased, away_from_zero(5)), biased)
    graph, changes = apply("fold-affine", model)
    assert reason(changes)
    assert_same(model, graph)


def test_refused_where_it_divides_by_the_value_or_by_zero() -> None:
    sketch = Sketch(x=("N", 4))
    _, changes = apply("fold-affine", sketch.model(affine(sketch, "Div", "x", np.float32(1), left=True)))
    assert "divides by x" in reason(changes)
    sketch = Sketch(x=("N", 4))
    graph, changes = apply("fold-affine", sketch.model(affine(sketch, "Div", "x", np.zeros(4, np.float32))))
    assert "divides by zero" in reason(changes)
    assert ops(graph) == ["Div"]


def test_refused_where_the_constant_makes_the_value_larger() -> None:
    sketch = Sketch(x=("N", 4, 1, 1))
    y = affine(sketch, "Mul", sketch.add("Conv", "x", normal(4, 4, 1, 1)), normal(1, 1, 3, 1))
    model = sketch.model(y)
    graph, changes = apply("fold-affine", model)
    assert "to another shape" in reason(changes)
    assert_same(model, graph)


def test_two_activations_are_left_alone() -> None:
    sketch = Sketch(x=("N", 4))
    graph, changes = apply("fold-affine", sketch.model(sketch.add("Mul", "x", sketch.add("Sigmoid", "x"))))
    assert ops(graph) == ["Sigmoid", "Mul"]
    assert changes.refused == []
