"""The float graph: handles, edits, order, and what survives a round trip."""

from __future__ import annotations

import numpy as np
import pytest

from bitsmith.errors import InternalError
from bitsmith.importing.load import load_graph
from bitsmith.ir.graph import Graph
from tests.sketch import Sketch, assert_same, normal, ops


def residual() -> Graph:
    """x -> conv -> relu -> add(relu, conv) -> y, with a second output on the convolution."""
    sketch = Sketch(x=("N", 2, 4, 4))
    conv = sketch.add("Conv", "x", normal(2, 2, 1, 1), name="conv", outputs=["c"])
    relu = sketch.add("Relu", conv, name="relu", outputs=["r"])
    return load_graph(sketch.model(sketch.add("Add", relu, conv, name="add", outputs=["y"]), conv))


def test_two_handles_of_one_thing_are_equal() -> None:
    graph = residual()
    assert graph.value("c") == graph.nodes("Conv")[0].output
    assert len({graph.value("c"), graph.nodes("Conv")[0].output}) == 1
    assert graph.nodes("Relu")[0].operand(0).producer == graph.nodes("Conv")[0]
    assert graph.value("c") != graph.value("r")


def test_sharing_counts_consumers_once_and_the_caller() -> None:
    graph = residual()
    assert graph.value("c").is_shared
    assert not graph.value("r").is_shared
    assert graph.value("y").is_output
    assert not graph.value("y").is_shared
    sketch = Sketch(x=("N", 2))
    twice = load_graph(sketch.model(sketch.add("Mul", sketch.add("Relu", "x", outputs=["r"]), "r")))
    assert not twice.value("r").is_shared
    assert len(twice.value("r").consumers) == 1


def test_values_come_in_execution_order() -> None:
    assert [value.name for value in residual().values() if value.constant is None] == ["x", "c", "r", "y"]


def test_an_unknown_value_is_an_internal_error() -> None:
    with pytest.raises(InternalError, match="no value is called z"):
        residual().value("z")


def test_nodes_added_late_stand_where_they_are_needed() -> None:
    graph = residual()
    relu = graph.nodes("Relu")[0]
    made = graph.add_node("Neg", [relu.operand(0)], "relu", relu.output.shape)
    relu.set_input(0, made.output)
    assert ops(graph) == ["Conv", "Neg", "Relu", "Add"]
    assert made.name == "relu.1"
    assert made.output.shape == (None, 2, 4, 4)
    assert_same(graph.to_onnx(), graph)


def test_replacing_an_output_gives_its_name_to_what_takes_its_place() -> None:
    graph = residual()
    before = graph.to_onnx()
    add = graph.nodes("Add")[0]
    made = graph.add_node("Identity", [add.output], "extra", add.output.shape)
    old = add.output
    made.set_input(0, add.operand(0))
    graph.replace(old, made.output)
    assert [value.name for value in graph.outputs] == [output.name for output in before.graph.output]
    assert graph.outputs[0].producer == made
    assert graph.prune() == ["add"]
    with pytest.raises(InternalError, match="cannot take the place"):
        graph.replace(graph.outputs[0], graph.inputs[0])


def test_removing_what_is_read_is_an_internal_error() -> None:
    graph = residual()
    with pytest.raises(InternalError, match="c is still read"):
        graph.remove(graph.nodes("Conv")[0])


def test_a_cycle_is_an_internal_error() -> None:
    graph = residual()
    graph.nodes("Relu")[0].set_input(0, graph.value("y"))
    with pytest.raises(InternalError, match="cycle"):
        graph.nodes()


def test_a_copy_is_independent() -> None:
    graph = residual()
    before = graph.to_onnx()
    copy = graph.copy()
    conv = copy.nodes("Conv")[0]
    conv.operand(1).constant = np.zeros((2, 2, 1, 1), np.float32)
    conv.set_attributes(pads=[1, 1, 1, 1])
    copy.bypass(copy.nodes("Relu")[0])
    assert graph.to_onnx() == before
    assert copy.outputs[0].name == "y"


def test_constants_keep_dtype_and_shape() -> None:
    graph = residual()
    for array in (np.zeros((), np.float32), np.arange(6, dtype=np.int64).reshape(2, 3).T, np.ones((0,), np.float32)):
        value = graph.add_constant("c", array)
        assert value.constant is not None
        assert (value.constant.dtype, value.constant.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(value.constant, array)
        value.constant = array.T
        np.testing.assert_array_equal(value.constant, array.T)
    with pytest.raises(InternalError, match="only a constant"):
        graph.inputs[0].constant = np.zeros(1)


def test_operands_may_be_left_out() -> None:
    graph = residual()
    add = graph.nodes("Add")[0]
    add.set_input(3, add.operand(0))
    assert add.input(2) is None
    assert add.input(9) is None
    with pytest.raises(InternalError, match="operand 2 is missing"):
        add.operand(2)
    add.drop_input()
    assert len(add.inputs) == 3


def test_a_value_with_an_unknown_dimension_has_no_sample_shape() -> None:
    graph = residual()
    made = graph.add_node("Relu", [graph.value("r")], "odd", (None, None, 4))
    with pytest.raises(InternalError, match="unknown dimension"):
        _ = made.output.sample_shape
