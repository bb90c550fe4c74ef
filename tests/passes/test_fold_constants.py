"""fold-constants: what does not depend on the data is computed once, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from tests.sketch import Sketch, apply, assert_same, normal, ops, reason


def test_a_chain_over_constants_folds() -> None:
    sketch = Sketch(x=("N", 4))
    weight = sketch.add("Mul", sketch.add("Transpose", normal(3, 4), perm=[1, 0]), sketch.add("Exp", normal(3)))
    model = sketch.model(sketch.add("MatMul", "x", weight))
    graph, changes = apply("fold-constants", model)
    assert ops(graph) == ["MatMul"]
    assert len(changes.made) == 3
    assert_same(model, graph)


def test_a_folded_value_with_two_readers_becomes_two_constants() -> None:
    sketch = Sketch(x=("N", 4))
    held = sketch.add("Abs", normal(4))
    model = sketch.model(sketch.add("Mul", sketch.add("Add", "x", held), held))
    graph, _ = apply("fold-constants", model)
    assert ops(graph) == ["Add", "Mul"]
    constants = [value for value in graph.values() if value.constant is not None]
    assert len(constants) == 2
    assert all(len(value.consumers) == 1 for value in constants)
    assert_same(model, graph)


def test_several_outputs_fold_together() -> None:
    sketch = Sketch(x=("N", 2))
    left, right = sketch.add("Split", normal(4), np.array([2, 2]), outputs=2, axis=0)
    model = sketch.model(sketch.add("Mul", sketch.add("Add", "x", left), right))
    graph, _ = apply("fold-constants", model)
    assert ops(graph) == ["Add", "Mul"]
    assert_same(model, graph)


def test_known_dimensions_of_a_shape_fold_and_the_batch_does_not() -> None:
    sketch = Sketch(x=("N", 3, 4))
    shape = sketch.add("Shape", "x")
    width = sketch.add("Cast", sketch.add("Gather", shape, np.array(2)), to=TensorProto.FLOAT)
    samples = sketch.add("Cast", sketch.add("Gather", shape, np.array(0)), to=TensorProto.FLOAT)
    model = sketch.model(sketch.add("Div", "x", width), sketch.add("Mul", "x", samples))
    graph, _ = apply("fold-constants", model)
    assert sorted(ops(graph)) == ["Cast", "Div", "Gather", "Mul", "Shape"]
    assert_same(model, graph)
    assert_same(model, graph, batch=5)


def test_the_part_of_a_shape_without_the_batch_folds() -> None:
    sketch = Sketch(opset=15, x=("N", 3, 4))
    tail = sketch.add("Cast", sketch.add("Shape", "x", start=1), to=TensorProto.FLOAT)
    model = sketch.model(sketch.add("Add", "x", sketch.add("ReduceSum", tail)))
    graph, _ = apply("fold-constants", model)
    assert ops(graph) == ["Add"]
    assert_same(model, graph)


def test_double_constants_that_are_cast_become_float32() -> None:
    sketch = Sketch(x=("N", 4))
    held = sketch.hold(np.array(0.5, np.float64))
    model = sketch.model(sketch.add("Mul", "x", sketch.add("Cast", held, to=TensorProto.FLOAT)))
    graph, _ = apply("fold-constants", model)
    assert ops(graph) == ["Mul"]
    assert_same(model, graph)


def test_refused_where_the_result_is_too_large() -> None:
    sketch = Sketch(x=("N", 1))
    large = sketch.add("Expand", np.float32(1), np.array([1024, 1024]), name="grow")
    total = sketch.add("ReduceSum", large, np.array([0, 1]), keepdims=0)
    model = sketch.model(sketch.add("Add", "x", total))
    graph, changes = apply("fold-constants{megabytes=3}", model)
    assert changes.refused[0] == ("Expand grow", "its result takes 4 MB, more than 3")
    assert "Expand" in ops(graph)
    assert ops(apply("fold-constants{megabytes=4}", model)[0]) == ["Add"]


def test_refused_where_the_result_is_an_output() -> None:
    sketch = Sketch(x=("N", 4))
    model = sketch.model(sketch.add("Relu", "x"), sketch.add("Abs", normal(4)))
    graph, changes = apply("fold-constants", model)
    assert "is an output of the graph" in reason(changes)
    assert_same(model, graph)


def test_refused_where_the_result_is_not_finite() -> None:
    sketch = Sketch(x=("N", 4))
    model = sketch.model(sketch.add("Add", "x", sketch.add("Log", np.zeros(4, np.float32))))
    _, changes = apply("fold-constants", model)
    assert reason(changes) == "its result is not finite"


def test_random_numbers_are_not_constants() -> None:
    sketch = Sketch(x=("N", 4))
    graph, changes = apply(
        "fold-constants", sketch.model(sketch.add("Add", "x", sketch.add("RandomNormal", shape=[4])))
    )
    assert ops(graph) == ["RandomNormal", "Add"]
    assert changes.made == []


@pytest.mark.parametrize("op", ["Relu", "Identity"])
def test_what_depends_on_data_is_left_alone(op: str) -> None:
    sketch = Sketch(x=("N", 4))
    graph, changes = apply("fold-constants", sketch.model(sketch.add("Add", sketch.add(op, "x"), normal(4))))
    assert ops(graph) == [op, "Add"]
    assert changes.made == changes.refused == []
