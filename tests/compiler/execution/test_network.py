"""Tails of a float network, against the whole network with the same change made in its graph."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bitsmith.execution.network import Network, logits
from bitsmith.execution.runtime import Session
from bitsmith.importing.load import load_graph
from bitsmith.ir.graph import Graph
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.sketch import Sketch, normal


def network() -> tuple[Graph, npt.NDArray[np.float32]]:
    """A skip connection and two outputs, of which one is a Softmax's."""
    sketch = Sketch(x=("N", 3, 6, 6))
    stem = sketch.add("Relu", sketch.add("Conv", "x", normal(4, 3, 3, 3), normal(4, seed=1), pads=[1, 1, 1, 1]))
    branch = sketch.add("Conv", stem, normal(4, 4, 1, 1, seed=2), normal(4, seed=3))
    body = sketch.add("Relu", sketch.add("Add", branch, stem))
    pooled = sketch.add("Flatten", sketch.add("GlobalAveragePool", body))
    head = sketch.add("Gemm", pooled, normal(4, 5, seed=4), normal(5, seed=5))
    model = sketch.model(sketch.add("Softmax", head, axis=1), branch)
    module = Module(load_graph(model), Target("test", "none"))
    Pipeline.parse(NORMALISE).run(module)
    return module.graph, normal(7, 3, 6, 6, seed=6)


def scaled(graph: Graph, name: str, factor: float) -> Graph:
    """A copy in which all that reads a value reads it times a factor."""
    copy = graph.copy()
    (value,) = (value for value in copy.values() if value.name == name)
    factors = copy.add_constant("factor", np.array(factor, np.float32))
    node = copy.add_node("Mul", [value, factors], "scaled", value.shape)
    copy.replace(value, node.output)
    node.set_input(0, value)
    return copy


def test_a_tail_gives_what_the_whole_network_gives() -> None:
    graph, x = network()
    ours = Network(graph, {"x": x})
    assert len(ours.layers) > 5
    for layer in ours.layers:
        name = layer.output.name
        found = ours.tail([name]).outputs({name: ours.activations[name] * np.float32(1.5)})
        assert list(found) == logits(graph)
        changed = scaled(graph, name, 1.5)
        expected = Session(changed, logits(changed)).run({"x": x}).values()
        for one, other in zip(found.values(), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_tail_takes_other_constants() -> None:
    graph, x = network()
    ours = Network(graph, {"x": x})
    layer = next(layer for layer in ours.layers if layer.op == "Gemm")
    assert layer.weight is not None
    assert layer.weight.constant is not None
    other = {layer.weight.name: layer.weight.constant * np.float32(2)}
    found = ours.tail([], other).outputs({})
    expected = ours.run(graph, layer, other)
    np.testing.assert_array_equal(found[layer.output.name], expected)
    untouched = next(name for name in found if name != layer.output.name)
    assert found[untouched] is ours.activations[untouched]
