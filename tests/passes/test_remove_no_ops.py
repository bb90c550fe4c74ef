"""remove-no-ops: what gives back what it was given goes, and only that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from tests.sketch import Sketch, apply, assert_same, normal, ops, reason

END = np.iinfo(np.int64).max

NO_OPS: dict[str, Any] = {
    "Identity": lambda s, x: s.add("Identity", x),
    "Dropout": lambda s, x: s.add("Dropout", x, np.float32(0.5)),
    "Dropout that may not train": lambda s, x: s.add("Dropout", x, np.float32(0.5), np.array(False)),
    "Dropout with an idle mask": lambda s, x: s.add("Dropout", x, outputs=2)[0],
    "Cast": lambda s, x: s.add("Cast", x, to=TensorProto.FLOAT),
    "Reshape": lambda s, x: s.add("Reshape", x, np.array([-1, 3, 4, 4])),
    "Flatten": lambda s, x: s.add("Squeeze", s.add("Unsqueeze", s.add("Flatten", x), np.array([1])), np.array([1])),
    "Transpose": lambda s, x: s.add("Transpose", x, perm=[0, 1, 2, 3]),
    "Pad": lambda s, x: s.add("Pad", x, np.zeros(8, np.int64)),
    "Slice": lambda s, x: s.add("Slice", x, np.array([0, 0]), np.array([END, 4]), np.array([0, 3])),
    "Resize by scales": lambda s, x: s.add("Resize", x, "", np.ones(4, np.float32), mode="linear"),
    "Resize by sizes": lambda s, x: s.add("Resize", x, "", "", np.array([4, 4]), mode="nearest", axes=[2, 3]),
    "Clip without bounds": lambda s, x: s.add("Clip", x),
    "Clip from lowest to highest": lambda s, x: s.add("Clip", x, np.finfo(np.float32).min, np.finfo(np.float32).max),
    "Clip to infinity": lambda s, x: s.add("Clip", x, np.float32(-np.inf), np.float32(np.inf)),
    "Concat": lambda s, x: s.add("Concat", x, axis=1),
    "Sum": lambda s, x: s.add("Sum", x),
    "Max": lambda s, x: s.add("Max", x),
    "Expand": lambda s, x: s.add("Expand", x, np.array([1, 3, 4, 4])),
    "MaxPool": lambda s, x: s.add("MaxPool", x, kernel_shape=[1, 1]),
    "AveragePool": lambda s, x: s.add("AveragePool", x, kernel_shape=[1, 1], strides=[1, 1]),
    "Add 0": lambda s, x: s.add("Add", x, np.zeros((3, 1, 1), np.float32)),
    "0 + x": lambda s, x: s.add("Add", np.float32(0), x),
    "Mul 1": lambda s, x: s.add("Mul", np.ones(1, np.float32), x),
    "Div 1": lambda s, x: s.add("Div", x, np.float32(1)),
    "Sub 0": lambda s, x: s.add("Sub", x, np.float32(0)),
}


@pytest.mark.parametrize("kind", NO_OPS)
def test_no_ops_go(kind: str) -> None:
    sketch = Sketch(opset=18, x=("N", 3, 4, 4))
    y = sketch.add("Relu", NO_OPS[kind](sketch, sketch.add("Sigmoid", "x")))
    graph, changes = apply("lower-reshapes,remove-no-ops" if kind == "Flatten" else "remove-no-ops", sketch.model(y))
    assert ops(graph) == (["Sigmoid", "Reshape", "Relu"] if kind == "Flatten" else ["Sigmoid", "Relu"])
    assert changes.refused == []
    assert_same(sketch.model(y), graph, tolerance=0)


@pytest.mark.parametrize("kind", [kind for kind in NO_OPS if kind != "Flatten"])
def test_no_ops_that_make_an_output_go_and_leave_their_name(kind: str) -> None:
    sketch = Sketch(opset=18, x=("N", 3, 4, 4))
    model = sketch.model(NO_OPS[kind](sketch, sketch.add("Sigmoid", "x")))
    graph, _ = apply("remove-no-ops", model)
    assert ops(graph) == ["Sigmoid"]
    assert_same(model, graph, tolerance=0)


NOT_NO_OPS: dict[str, Any] = {
    "Cast": lambda s, x: s.add("Cast", s.add("Cast", x, to=TensorProto.INT32), to=TensorProto.FLOAT),
    "Reshape": lambda s, x: s.add("Reshape", x, np.array([0, 4, 3, 4])),
    "Transpose": lambda s, x: s.add("Transpose", x, perm=[0, 1, 3, 2]),
    "Pad that shifts": lambda s, x: s.add("Pad", x, np.array([0, 0, 1, 0, 0, 0, -1, 0])),
    "Slice backwards": lambda s, x: s.add("Slice", x, np.array([3]), np.array([-9]), np.array([2]), np.array([-1])),
    "Slice of some samples": lambda s, x: s.add("Slice", x, np.array([0]), np.array([100]), np.array([0])),
    "Clip": lambda s, x: s.add("Clip", x, "", np.float32(3e38)),
    "Concat": lambda s, x: s.add("Slice", s.add("Concat", x, x, axis=1), np.array([1]), np.array([4]), np.array([1])),
    "MaxPool": lambda s, x: s.add("MaxPool", x, kernel_shape=[1, 1], strides=[2, 2]),
    "AveragePool": lambda s, x: s.add("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "Add": lambda s, x: s.add("Add", x, np.float32(1e-30)),
    "Mul": lambda s, x: s.add("Mul", x, np.array([[[1]], [[1]], [[2]]], np.float32)),
    "Sub from 0": lambda s, x: s.add("Sub", np.float32(0), x),
}


@pytest.mark.parametrize("kind", NOT_NO_OPS)
def test_what_does_something_stays(kind: str) -> None:
    sketch = Sketch(opset=18, x=("N", 3, 4, 4))
    model = sketch.model(sketch.add("Relu", NOT_NO_OPS[kind](sketch, "x")))
    graph, changes = apply("remove-no-ops", model)
    assert changes.made == []
    assert_same(model, graph)


def test_transposes_that_cancel_go() -> None:
    sketch = Sketch(x=("N", 3, 4, 5))
    y = sketch.add("Transpose", sketch.add("Transpose", sketch.add("Relu", "x"), perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2])
    model = sketch.model(y)
    graph, _ = apply("remove-no-ops", model)
    assert ops(graph) == ["Relu"]
    assert_same(model, graph, tolerance=0)


def test_transposes_and_reshapes_join() -> None:
    sketch = Sketch(x=("N", 3, 4, 5))
    y = sketch.add("Transpose", sketch.add("Transpose", "x", perm=[0, 2, 3, 1]), perm=[0, 2, 1, 3])
    y = sketch.add("Reshape", sketch.add("Reshape", y, np.array([0, 60])), np.array([0, 6, 10]))
    y = sketch.add("Flatten", y)
    model = sketch.model(y)
    graph, _ = apply("lower-reshapes,remove-no-ops", model)
    assert ops(graph) == ["Transpose", "Reshape"]
    assert_same(model, graph, tolerance=0)


def test_a_reshape_whose_target_copies_dimensions_does_not_join() -> None:
    sketch = Sketch(x=("N", 3, 4, 5))
    model = sketch.model(
        sketch.add("Reshape", sketch.add("Reshape", "x", np.array([0, 4, 15])), np.array([0, 0, 5, 3]))
    )
    graph, changes = apply("remove-no-ops", model)
    assert changes.made == []
    assert_same(model, graph, tolerance=0)


def test_transposes_do_not_join_across_a_shared_value() -> None:
    sketch = Sketch(x=("N", 3, 4))
    first = sketch.add("Transpose", "x", perm=[0, 2, 1])
    model = sketch.model(sketch.add("Transpose", first, perm=[0, 2, 1]), first)
    graph, changes = apply("remove-no-ops", model)
    assert ops(graph) == ["Transpose", "Transpose"]
    assert "is used elsewhere too" in reason(changes)
    assert_same(model, graph, tolerance=0)


def test_refused_where_an_output_would_be_the_input() -> None:
    sketch = Sketch(x=("N", 3))
    model = sketch.model(sketch.add("Identity", "x"))
    graph, changes = apply("remove-no-ops", model)
    assert "gives x a second name" in reason(changes)
    assert_same(model, graph)


def test_refused_where_two_outputs_would_be_one() -> None:
    sketch = Sketch(x=("N", 3))
    y = sketch.add("Relu", "x")
    model = sketch.model(y, sketch.add("Identity", y))
    graph, changes = apply("remove-no-ops", model)
    assert "an output of the graph" in reason(changes)
    assert_same(model, graph)


def test_refused_where_the_mask_of_a_dropout_is_used() -> None:
    sketch = Sketch(x=("N", 3))
    kept, mask = sketch.add("Dropout", "x", outputs=2)
    model = sketch.model(sketch.add("Where", mask, kept, normal(3)))
    graph, changes = apply("remove-no-ops", model)
    assert f"its output {mask} is used" in reason(changes)
    assert_same(model, graph)


def test_refused_for_constants() -> None:
    sketch = Sketch(x=("N", 3))
    _, changes = apply("remove-no-ops", sketch.model(sketch.add("Add", "x", sketch.add("Identity", normal(3)))))
    assert "fold-constants" in reason(changes)


def test_a_training_dropout_stays() -> None:
    sketch = Sketch(x=("N", 3))
    graph, _ = apply("remove-no-ops", sketch.model(sketch.add("Dropout", "x", np.float32(0.5), np.array(True))))
    assert ops(graph) == ["Dropout"]
