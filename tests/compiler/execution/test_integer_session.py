"""`integer.onnx` in stretches computes what it computes whole."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsmith.errors import ModelError
from bitsmith.execution import integer_session
from bitsmith.execution.batches import Batch, vectors
from bitsmith.execution.export import to_onnx
from bitsmith.execution.integer_session import IntegerSession, stretches
from bitsmith.execution.interpreter import run
from bitsmith.execution.runtime import Array, Session
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import IntegerGraph, Linear, Requantize, Value
from tests.strategies import integer_graphs


def chained(models: list[tuple[onnx.ModelProto, dict[str, Array]]], inputs: Batch) -> Batch:
    """What models make one after another, each of what it asks for."""
    held = dict(inputs)
    for model, weights in models:
        made = Session(model, threads=1, weights=weights).run({one.name: held[one.name] for one in model.graph.input})
        assert not made.keys() & held.keys()
        held |= made
    return held


@settings(max_examples=15)
@given(graph=integer_graphs(most=6), most=st.integers(1, 4))
def test_stretches_make_what_the_whole_makes(graph: IntegerGraph, most: int) -> None:
    model, inputs = to_onnx(graph), vectors(graph, 5, seed=0)
    cut = list(stretches(graph, model, graph.outputs, most))
    assert [node for one, _ in cut for node in one.graph.node] == list(model.graph.node)
    assert max(len(one.graph.node) for one, _ in cut) <= most
    wanted, found = Session(model, threads=1).run(inputs), chained(cut, inputs)
    for name in graph.outputs:
        np.testing.assert_array_equal(found[name], wanted[name], strict=True)


@pytest.mark.parametrize("keep", [False, True])
@given(graph=integer_graphs(most=6))
@settings(max_examples=5)
def test_a_long_model_runs_as_a_short_one_does(graph: IntegerGraph, keep: bool) -> None:
    model, inputs = to_onnx(graph), vectors(graph, 5, seed=0)
    whole = IntegerSession(graph, model, keep=keep, threads=1).run(inputs)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(integer_session, "STRETCH", 1)
        cut = IntegerSession(graph, model, keep=keep, threads=1).run(inputs)
    assert list(whole) == list(cut) == ([one.output for one in graph] if keep else list(graph.outputs))
    for name, array in whole.items():
        np.testing.assert_array_equal(cut[name], array, strict=True)


def test_large_weights_are_handed_over_beside_the_model() -> None:
    weight = np.arange(-(1 << 17), 1 << 17).reshape(512, 512) % 15 - 7
    format = Format(IntegerType(8), (1.0,))
    layer = Linear(
        "wide", ("x",), "y", weight, np.arange(512), format, Requantize(np.array([1 << 20]), 28, 0, -128, 127)
    )
    values = {name: Value(name, (512,), format) for name in ("x", "y")}
    graph = IntegerGraph("g", values, ("x",), ("y",), (layer,))
    model, inputs = to_onnx(graph), vectors(graph, 9, seed=0)
    ((cut, large),) = stretches(graph, model, graph.outputs, 1)
    assert list(large) == ["wide.weight"]
    assert cut.ByteSize() < model.ByteSize() - weight.size // 2
    found = IntegerSession(graph, model, threads=1).run(inputs)
    np.testing.assert_array_equal(found["y"], run(graph, inputs)["y"], strict=True)


@given(graph=integer_graphs(most=2))
@settings(max_examples=3)
def test_what_lacks_an_input_or_has_another_is_refused_by_name(graph: IntegerGraph) -> None:
    session, inputs = IntegerSession(graph, to_onnx(graph), threads=1), vectors(graph, 2, seed=0)
    (first, *rest) = inputs
    for batch in ({name: inputs[name] for name in rest}, {**inputs, "another": inputs[first]}):
        names = ", ".join(batch) or "nothing"
        with pytest.raises(ModelError, match=f"its inputs are {', '.join(graph.inputs)}, .* given is {names}. Give an"):
            session.run(batch)
    of_another_type = {**inputs, first: inputs[first].astype(np.float64)}
    with pytest.raises(ModelError, match=r"ONNX Runtime .* cannot run the model"):
        session.run(of_another_type)
