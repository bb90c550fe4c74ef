"""Move a Softmax below the Reshape that follows it, to where the host can take it over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bitsmith.ir.graph import Graph, Node
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module


@dataclass(frozen=True)
class SinkSoftmax(Pass):
    """Swap Reshape(Softmax(x)) into Softmax(Reshape(x)) where the Reshape only adds or drops dimensions of 1.

    Softmax runs along one axis; dimensions of 1 beside it change neither its sums nor its order. Classifiers end
    in such a Reshape where they flatten their output last, and where their Softmax is older than opset 13.
    """

    name: ClassVar[str] = "sink-softmax"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        for softmax in module.graph.nodes("Softmax"):
            while (reshape := _reader(softmax)) is not None:
                axis = _axis_after(softmax, reshape)
                if softmax.output.is_shared:
                    changes.refuse(softmax, f"{softmax.output.name} is used elsewhere too")
                    break
                if axis is None:
                    changes.refuse(softmax, f"{reshape.where} does more than add or drop dimensions of 1")
                    break
                changes.change(softmax)
                softmax = _swap(module.graph, softmax, reshape, axis)
        return changes


def _reader(softmax: Node) -> Node | None:
    """The Reshape that reads a Softmax, if there is one."""
    return next((reader for reader in softmax.output.consumers if reader.op == "Reshape"), None)


def _axis_after(softmax: Node, reshape: Node) -> int | None:
    """The axis of the Softmax in the shape that the Reshape gives; None if it has no equal there."""
    before, after = softmax.output, reshape.output
    if before.shape[0] is not None or after.shape[0] is not None:
        return None
    axis = int(softmax.attribute("axis", -1)) % before.rank
    wide_before = [index for index, size in enumerate(before.shape) if size != 1]
    wide_after = [index for index, size in enumerate(after.shape) if size != 1]
    if axis not in wide_before or [before.shape[i] for i in wide_before] != [after.shape[i] for i in wide_after]:
        return None
    return wide_after[wide_before.index(axis)]


def _swap(graph: Graph, softmax: Node, reshape: Node, axis: int) -> Node:
    value, made = softmax.operand(0), reshape.output
    sunk = graph.add_node("Softmax", [value], softmax.name, made.shape, axis=axis)
    graph.replace(made, sunk.output)
    sunk.set_input(0, made)
    reshape.set_input(0, value)
    graph.remove(softmax)
    return sunk
