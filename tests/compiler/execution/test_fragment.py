"""A piece of a graph computes what the whole computes there."""

from __future__ import annotations

import numpy as np
import pytest

from bitsmith.execution.fragment import fragment
from bitsmith.execution.runtime import Session
from bitsmith.importing.load import load_graph
from bitsmith.ir.graph import Graph
from tests.sketch import Sketch, normal


@pytest.fixture
def graph() -> Graph:
    sketch = Sketch(x=("N", 2, 4, 4))
    first = sketch.add("Relu", sketch.add("Conv", "x", normal(3, 2, 3, 3), normal(3, seed=1), pads=[1, 1, 1, 1]))
    second = sketch.add("Conv", first, normal(3, 3, 1, 1, seed=2), normal(3, seed=3))
    return load_graph(sketch.model(sketch.add("Add", second, first)))


def test_a_fragment_is_fed_what_its_nodes_read_and_do_not_make(graph: Graph) -> None:
    nodes = graph.nodes()
    whole = Session(graph, [node.output.name for node in nodes])
    real = whole.run({"x": normal(5, 2, 4, 4, seed=4)})
    conv, total = nodes[2], nodes[3]
    read = conv.operand(0)
    session = fragment(graph, [conv, total], [conv.output, total.output])
    made = session.run({read.name: real[read.name]})
    assert session.outputs == (conv.output.name, total.output.name)
    for name in session.outputs:
        np.testing.assert_allclose(made[name], real[name], rtol=1e-6, atol=1e-6)
