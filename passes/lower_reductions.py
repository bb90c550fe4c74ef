"""A mean or a maximum over space as a pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module


@dataclass(frozen=True)
class LowerReductions(Pass):
    """Turn ReduceMean, ReduceMax and GlobalMaxPool into pools; a Reshape follows where they drop the axes.

    Over all spatial axes a mean is GlobalAveragePool. Over some it is AveragePool with a window as wide as the value
    along those axes and 1 along the others, and no padding; a maximum is such a MaxPool always. Where all axes but
    one are reduced and that one is not the second (channels last, tokens), a Transpose makes it the second first.
    """

    name: ClassVar[str] = "lower-reductions"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        for node in module.graph.nodes("ReduceMean", "ReduceMax", "GlobalMaxPool"):
            axes = _axes(node)
            if isinstance(axes, str):
                changes.refuse(node, axes)
            else:
                changes.change(_lower(module.graph, node, axes))
        return changes


def _axes(node: Node) -> set[int] | str:
    """The axes that are reduced, if a pool can do it; else why not."""
    value, given = node.operand(0), node.input(1)
    if value.constant is not None:
        return f"{value.name} is constant: fold-constants removes it"
    if value.rank not in (3, 4):
        return f"{value.name} has rank {value.rank}, not 3 or 4"
    if node.op == "GlobalMaxPool":
        return set(range(2, value.rank))
    numbers = node.constant(1)
    if given is not None and numbers is None:
        return f"its axes {given.name} are not constant"
    if numbers is None or numbers.size == 0:
        return "it reduces every axis, the batch with them"
    axes = {int(axis) % value.rank for axis in numbers}
    kept = set(range(1, value.rank)) - axes
    if 0 in axes or not (1 in kept or len(kept) == 1):
        return f"it reduces axes {sorted(axes)}, not space alone"
    return axes


def _lower(graph: Graph, node: Node, axes: set[int]) -> Node:
    value, made = node.operand(0), node.output
    if 1 in axes:
        value, axes = _channels_second(graph, node, axes), set(range(2, value.rank))
    pooled = tuple(1 if axis in axes else size for axis, size in enumerate(value.shape))
    if node.op == "ReduceMean" and len(axes) == value.rank - 2:
        pool = graph.add_node("GlobalAveragePool", [value], node.name, pooled)
    else:
        kernel = [size if axis in axes else 1 for axis, size in enumerate(value.sample_shape, start=1)][1:]
        strides = [1] * len(kernel)
        op = "AveragePool" if node.op == "ReduceMean" else "MaxPool"
        pool = graph.add_node(op, [value], node.name, pooled, kernel_shape=kernel, strides=strides)
    last = pool.output
    if made.shape != pooled:
        target = graph.add_constant(f"{node.name}.shape", np.array([0, *made.sample_shape], np.int64))
        last = graph.add_node("Reshape", [last, target], f"{node.name}.reshape", made.shape).output
    graph.replace(made, last)
    graph.remove(node)
    return pool


def _channels_second(graph: Graph, node: Node, axes: set[int]) -> Value:
    """The value with the one axis that is not reduced moved to where channels are."""
    value = node.operand(0)
    (kept,) = set(range(1, value.rank)) - axes
    order = [0, kept, *sorted(axes)]
    shape = [value.shape[axis] for axis in order]
    return graph.add_node("Transpose", [value], f"{node.name}.transpose", shape, perm=order).output
