"""A mean over space as a pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.ir.graph import Node
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module


@dataclass(frozen=True)
class LowerMeans(Pass):
    """Turn ReduceMean over spatial axes into a pool, and into a Reshape where it drops the axes.

    Over all of them the mean is GlobalAveragePool. Over some it is AveragePool with a window as wide as the value
    along those axes and 1 along the others, and no padding.
    """

    name: ClassVar[str] = "lower-means"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        graph = module.graph
        for node in graph.nodes("ReduceMean"):
            axes = _axes(node)
            if isinstance(axes, str):
                changes.refuse(node, axes)
                continue
            value, made = node.operand(0), node.output
            kernel = [size if axis in axes else 1 for axis, size in enumerate(value.sample_shape, start=1)][1:]
            channels = value.sample_shape[0]
            pooled = (None, channels, *(1 if axis in axes else value.shape[axis] for axis in range(2, value.rank)))
            if len(axes) == value.rank - 2:
                pool = graph.add_node("GlobalAveragePool", [value], node.name, pooled)
            else:
                pool = graph.add_node(
                    "AveragePool", [value], node.name, pooled, kernel_shape=kernel, strides=[1] * len(kernel)
                )
            last = pool.output
            if made.rank != value.rank:
                target = graph.add_constant(f"{node.name}.shape", np.array([0, *made.sample_shape], np.int64))
                last = graph.add_node("Reshape", [last, target], f"{node.name}.reshape", made.shape).output
            graph.replace(made, last)
            graph.remove(node)
            changes.change(pool)
        return changes


def _axes(node: Node) -> set[int] | str:
    """The axes that are averaged, if all of them are spatial; else why they cannot be a pool."""
    value, given = node.operand(0), node.input(1)
    if value.constant is not None:
        return f"{value.name} is constant: fold-constants removes it"
    if value.rank not in (3, 4):
        return f"{value.name} has rank {value.rank}, not 3 or 4"
    numbers = node.constant(1)
    if given is not None and numbers is None:
        return f"its axes {given.name} are not constant"
    if numbers is None or numbers.size == 0:
        return "it averages over every axis, the batch with them"
    axes = {int(axis) % value.rank for axis in numbers}
    if not axes <= set(range(2, value.rank)):
        return f"it averages over axes {sorted(axes)}, not over space alone"
    return axes
