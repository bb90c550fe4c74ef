"""sink-softmax: below what only adds or drops dimensions of 1, and no further."""

from __future__ import annotations

import numpy as np
import pytest

from bitsmith.ir.legal import illegal_nodes
from bitsmith.pipelines import NORMALISE
from tests.sketch import Sketch, apply, assert_same, normal, ops, reason


@pytest.mark.parametrize(
    ("shape", "axis", "target"),
    [
        ((5, 1, 1), 1, [5]),
        ((5, 1, 1), -3, [1, 5]),
        ((5,), -1, [5, 1, 1]),
        ((1, 4, 1, 3), 2, [4, 3]),
        ((4, 3), 2, [4, 1, 3]),
    ],
)
def test_softmax_sinks_below_dimensions_of_one(shape: tuple[int, ...], axis: int, target: list[int]) -> None:
    sketch = Sketch(x=("N", *shape))
    model = sketch.model(sketch.add("Reshape", sketch.add("Softmax", "x", axis=axis), np.array([0, *target])))
    graph, _ = apply("sink-softmax", model)
    assert ops(graph) == ["Reshape", "Softmax"]
    assert_same(model, graph)


@pytest.mark.parametrize("opset", [7, 11, 12, 13])
@pytest.mark.parametrize("flatten", [False, True])
def test_an_old_classifier_becomes_legal(opset: int, flatten: bool) -> None:
    sketch = Sketch(opset=opset, x=("N", 3, 4, 4))
    y = sketch.add("GlobalAveragePool", sketch.add("Conv", "x", normal(5, 3, 1, 1)))
    y = sketch.add("Softmax", y, axis=1)
    model = sketch.model(sketch.add("Flatten", y) if flatten else y)
    graph, _ = apply(NORMALISE, model)
    assert ops(graph) == ["Conv", "GlobalAveragePool", *(["Reshape"] if flatten else []), "Softmax"]
    assert illegal_nodes(graph) == []
    assert_same(model, graph)


def test_refused_where_the_reshape_does_more() -> None:
    sketch = Sketch(x=("N", 4, 6))
    model = sketch.model(sketch.add("Reshape", sketch.add("Softmax", "x"), np.array([0, 24])))
    graph, changes = apply("sink-softmax", model)
    assert "does more than add or drop dimensions of 1" in reason(changes)
    assert_same(model, graph)


def test_refused_where_the_probabilities_are_shared() -> None:
    sketch = Sketch(x=("N", 4, 1))
    y = sketch.add("Softmax", "x", axis=1)
    model = sketch.model(sketch.add("Reshape", y, np.array([0, 4])), y)
    graph, changes = apply("sink-softmax", model)
    assert "is used elsewhere too" in reason(changes)
    assert_same(model, graph)
