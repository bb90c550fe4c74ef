"""Sessions: any value as an output, the same bits each time, and errors in place of exceptions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from bitsmith.errors import ModelError
from bitsmith.execution.runtime import Session
from bitsmith.importing.load import load_graph
from tests.sketch import Sketch, normal


def two_layers() -> onnx.ModelProto:
    sketch = Sketch(x=("N", 3, 6, 6))
    hidden = sketch.add("Relu", sketch.add("Conv", "x", normal(4, 3, 3, 3)))
    return sketch.model(sketch.add("Conv", hidden, normal(2, 4, 2, 2)))


def test_values_within_the_graph_are_what_the_reference_says() -> None:
    model = two_layers()
    names = [node.output[0] for node in model.graph.node]
    x = normal(5, 3, 6, 6)
    inner = onnx.ModelProto()
    inner.CopyFrom(model)
    inner.graph.output.extend(helper.make_tensor_value_info(name, 1, None) for name in names[:2])
    *_, conv, relu = ReferenceEvaluator(inner).run(None, {"x": x})
    found = Session(load_graph(model), names[1::-1]).run({"x": x})
    assert list(found) == names[1::-1]
    np.testing.assert_allclose(found[names[0]], conv, atol=1e-5)
    np.testing.assert_allclose(found[names[1]], relu, atol=1e-5)


def test_without_a_choice_the_outputs_are_the_graphs_own() -> None:
    model = two_layers()
    session = Session(model)
    assert session.outputs == (model.graph.output[0].name,)
    assert Session(load_graph(model)).outputs == session.outputs
    assert session.run({"x": normal(2, 3, 6, 6)})[session.outputs[0]].shape == (2, 2, 3, 3)


def test_a_chosen_output_leaves_the_model_as_it_was() -> None:
    model = two_layers()
    before = model.SerializeToString(deterministic=True)
    Session(model, [model.graph.node[0].output[0]])
    assert model.SerializeToString(deterministic=True) == before


def test_runs_are_equal_bit_for_bit_on_one_thread_and_on_two(model_file: Callable[[str], Path]) -> None:
    graph = load_graph(model_file("resnet8_cifar10.onnx"))
    x = normal(16, 3, 32, 32) * np.float32(50)
    results = [
        Session(graph, threads=threads).run({graph.inputs[0].name: x})[graph.outputs[0].name] for threads in (1, 2, 2)
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(results[0], result)


def test_a_model_that_cannot_be_loaded_is_a_model_error_that_names_it() -> None:
    sketch = Sketch(x=("N", 3))
    model = sketch.model(sketch.add("Gelu", "x"))
    model.graph.name = "net"
    with pytest.raises(ModelError, match=r"net: ONNX Runtime \S+ cannot load the model: .*Gelu"):
        Session(model)


def test_a_batch_that_does_not_fit_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="cannot run the model"):
        Session(two_layers()).run({"x": normal(2, 4, 6, 6)})
