"""Evaluate what does not depend on the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.importing.evaluate import RANDOM, Array, CannotEvaluate, evaluate
from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module

_BATCHES = (2, 3)
Results = list[Array] | str | None


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replace every node whose result is the same for all data by that result.

    Operands that are constant decide a result; so does Shape, for the dimensions that are known. A Shape with the
    batch in it is followed at two batch sizes: what is computed from it is constant where both give the same.

    megabytes: the largest result that is computed and kept.
    """

    name: ClassVar[str] = "fold-constants"
    megabytes: int = 256

    def run(self, module: Module) -> Changes:
        changes = Changes()
        graph = module.graph
        at_batch: list[dict[Value, Array]] = [{} for _ in _BATCHES]
        for node in graph.nodes():
            first, second = (
                self._results(graph, node, known, batch) for known, batch in zip(at_batch, _BATCHES, strict=True)
            )
            if first is None or second is None:
                continue
            if isinstance(first, str) or isinstance(second, str):
                changes.refuse(node, first if isinstance(first, str) else str(second))
                continue
            folded = 0
            for value, one, two in zip(node.outputs, first, second, strict=True):
                at_batch[0][value], at_batch[1][value] = one, two
                if one.shape != two.shape or not np.array_equal(one, two):
                    continue
                if value.is_output:
                    changes.refuse(node, f"{value.name} is an output of the graph")
                elif one.dtype.kind == "f" and not np.isfinite(one).all():
                    changes.refuse(node, "its result is not finite")
                else:
                    _replace(graph, value, one)
                    folded += 1
            if folded:
                changes.change(node)
        graph.prune()
        return changes

    def _results(self, graph: Graph, node: Node, known: dict[Value, Array], batch: int) -> Results:
        """All outputs at one batch size; None if they depend on data, a reason if they cannot be had."""
        if node.op in ("Shape", "Size") and node.operand(0).constant is None:
            shape = [batch if size is None else size for size in node.operand(0).shape]
            operands: list[Array | None] = [np.broadcast_to(np.float32(0), shape)]
        else:
            operands = []
            for value in node.inputs:
                array = None if value is None else known.get(value, value.constant)
                if value is not None and array is None:
                    return None
                operands.append(array)
        if node.op in RANDOM:
            return None
        for value in node.outputs:
            size = math.prod(batch if size is None else size for size in value.shape) * value.dtype.itemsize
            if size > self.megabytes << 20:
                return f"its result takes {size >> 20} MB, more than {self.megabytes}"
        try:
            return evaluate(node.to_onnx(), operands, graph.opset)
        except CannotEvaluate as failure:
            return str(failure)


def _replace(graph: Graph, value: Value, array: Array) -> None:
    """Give every reading of a value a constant of its own."""
    for consumer in value.consumers:
        for index, operand in enumerate(consumer.inputs):
            if operand == value:
                consumer.set_input(index, graph.add_constant(value.name, array))
