"""gather-factors: numbers around a product of two values become one behind it, and nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.sketch import Sketch, apply, assert_same


def product(before: str | None, behind: list[tuple[str, float]], factor: float = 0.5) -> Any:
    sketch = Sketch(a=("N", 3, 4), b=("N", 4, 5))
    left = "a" if before is None else sketch.add(before, "a", factor)
    made = sketch.add("MatMul", left, "b")
    for op, number in behind:
        made = sketch.add(op, made, number)
    return sketch.model(made)


@pytest.mark.parametrize(
    ("before", "behind", "factor"),
    [
        ("Mul", [], 0.5),
        ("Div", [], 2.0),
        (None, [("Div", 4.0)], 0.25),
        ("Mul", [("Mul", 3.0), ("Div", 2.0)], 0.75),
    ],
)
def test_they_become_one_factor(before: str | None, behind: list[tuple[str, float]], factor: float) -> None:
    model = product(before, behind)
    graph, changes = apply("gather-factors", model)
    assert len(changes.made) == 1
    assert [node.op for node in graph.nodes()] == ["MatMul", "Mul"]
    held = graph.nodes("Mul")[0].constant(1)
    assert held is not None
    assert held.item() == pytest.approx(factor)
    assert_same(model, graph)


@pytest.mark.parametrize("behind", [[], [("Mul", 2.0)], [("Mul", -2.0)], [("Add", 2.0)]])
def test_what_is_in_place_or_no_positive_factor_stays(behind: list[tuple[str, float]]) -> None:
    _, changes = apply("gather-factors", product(None, behind))
    assert not changes.made


def test_an_operand_that_others_read_keeps_its_scale() -> None:
    sketch = Sketch(a=("N", 3, 4), b=("N", 4, 5))
    left = sketch.add("Mul", "a", 0.5)
    model = sketch.model(sketch.add("MatMul", left, "b"), sketch.add("Relu", left))
    _, changes = apply("gather-factors", model)
    assert not changes.made


def test_constants_on_the_right_are_not_products_of_values() -> None:
    sketch = Sketch(a=("N", 3, 4))
    model = sketch.model(sketch.add("Mul", sketch.add("MatMul", "a", np.ones((4, 2), np.float32)), 0.5))
    _, changes = apply("gather-factors", model)
    assert not changes.made
