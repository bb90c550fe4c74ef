"""`integer.onnx` in ONNX Runtime, a stretch of operations at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx
from onnx import helper, numpy_helper

from bitsmith.errors import ModelError
from bitsmith.execution.batches import Batch
from bitsmith.execution.export import described
from bitsmith.execution.runtime import Array, Session
from bitsmith.ir.graph import BESIDE, elsewhere
from bitsmith.ir.integer import IntegerGraph

STRETCH = 128
"""Operations that are loaded as one model. The function of each is some fifty nodes, and the time that ONNX Runtime
takes to load a model grows faster than its nodes: 751 operations took 3.2 times as long at once as in six stretches."""


class IntegerSession:
    """The model that `to_onnx` made of a graph, loaded: from integers to integers.

    A model of more than `STRETCH` operations becomes several sessions, each of which is handed what those before it
    made. Every node runs, in order, on what the model says that it reads; ONNX Runtime only never sees all at once.

    graph: what the model was made of. keep: whether to give the results of all operations, and not the outputs alone.
    threads, once: as of any `Session`. Raises ModelError where ONNX Runtime cannot load the model.
    """

    def __init__(
        self, graph: IntegerGraph, model: onnx.ModelProto, *, keep: bool = False, threads: int = 0, once: bool = False
    ) -> None:
        self._name, self._inputs = graph.name, graph.inputs
        self._outputs = tuple(operation.output for operation in graph) if keep else graph.outputs
        self._sessions = [
            Session(part, threads=threads, weights=weights, once=once)
            for part, weights in stretches(graph, model, self._outputs, STRETCH)
        ]

    def run(self, batch: Batch) -> Batch:
        """The outputs by name, for a batch of every input, each (samples, *shape) of its storage type.

        Raises ModelError for inputs that the model does not take.
        """
        if batch.keys() != set(self._inputs):
            raise ModelError(
                f"its inputs are {', '.join(self._inputs)}, and what it is given is {', '.join(batch) or 'nothing'}",
                where=self._name,
                fix="Give an array for each input, by its name, and no others.",
            )
        held = dict(batch)
        for session in self._sessions:
            held |= session.run({name: held[name] for name in session.inputs})
        return {name: held[name] for name in self._outputs}


def stretches(
    graph: IntegerGraph, model: onnx.ModelProto, outputs: Sequence[str], most: int
) -> Iterator[tuple[onnx.ModelProto, dict[str, Array]]]:
    """Models of at most so many nodes each, which one after another compute what `model` does, and their large weights.

    Each takes the inputs and the results of earlier nodes that it reads, by name, and gives those results of its own
    that later ones read, or none does, or that are in `outputs`.
    """
    nodes = model.graph.node
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    last_read = {name: index for index, node in enumerate(nodes) for name in node.input}
    last_read |= dict.fromkeys(outputs, len(nodes))
    for start in range(0, len(nodes), most):
        part = nodes[start : start + most]
        made = dict.fromkeys(name for node in part for name in node.output)
        read = dict.fromkeys(name for node in part for name in node.input)
        given = [name for name in read if name not in stored and name not in made]
        handed_on = [name for name in made if last_read.get(name, len(nodes)) >= start + len(part)]
        constants = [stored[name] for name in read if name in stored]
        large = {one.name: numpy_helper.to_array(one) for one in constants if one.ByteSize() >= BESIDE}
        body = helper.make_graph(
            part,
            f"{graph.name}, from {part[0].name} to {part[-1].name}",
            [described(graph.values[name]) for name in given],
            [described(graph.values[name]) for name in handed_on],
            [elsewhere(one.name, large[one.name]) if one.name in large else one for one in constants],
        )
        whole = helper.make_model(
            body, functions=model.functions, opset_imports=model.opset_import, ir_version=model.ir_version
        )
        yield whole, large
