"""Split and every Slice as one form of Slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.ir.graph import Graph, Node
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module

_TO_THE_END = 2**31 - 1
"""An end at or beyond this is how exporters write "all of it"."""


@dataclass(frozen=True)
class CanonicalizeSlices(Pass):
    """Turn Split into Slices, and give every Slice constant starts, ends, axes and steps in one form.

    Axes count from the front and exclude the batch; starts lie inside the axis; an end is what the last element
    read lies before, at most the size of the axis. A step below 0 walks backwards; where it reaches the front its
    end is -size - 1, which ONNX clamps to "before the first".
    """

    name: ClassVar[str] = "canonicalize-slices"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        for node in module.graph.nodes("Split", "Slice"):
            before = [node.constant(index) for index in range(1, 5)]
            reason = _split(module.graph, node) if node.op == "Split" else _slice(node)
            if reason is not None:
                changes.refuse(node, reason)
            elif not node.outputs or not _same(before, [node.constant(index) for index in range(1, 5)]):
                changes.change(node)
        module.graph.prune()
        return changes


def _same(before: list[npt.NDArray[Any] | None], after: list[npt.NDArray[Any] | None]) -> bool:
    return all(a is not None and b is not None and np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def _split(graph: Graph, node: Node) -> str | None:
    value = node.operand(0)
    axis = int(node.attribute("axis", 0)) % value.rank
    if value.constant is not None:
        return f"{value.name} is constant: fold-constants removes it"
    if axis == 0 or value.shape[0] is not None:
        return "it splits the batch"
    start = 0
    for index, part in enumerate(node.outputs):
        size = part.sample_shape[axis - 1]
        slice_node = graph.add_node("Slice", [value], f"{node.name}.{index}", part.shape)
        _set(slice_node, {axis: (start, start + size, 1)})
        graph.replace(part, slice_node.output)
        start += size
    graph.remove(node)
    return None


def _slice(node: Node) -> str | None:
    value = node.operand(0)
    if value.constant is not None:
        return f"{value.name} is constant: fold-constants removes it"
    if value.rank == 0 or value.shape[0] is not None:
        return f"the first dimension of {value.name} is not the batch"
    for index in range(1, 5):
        operand = node.input(index)
        if operand is not None and operand.constant is None:
            return f"{operand.name} is not constant"
    starts, ends = _integers(node, 1), _integers(node, 2)
    axes = _integers(node, 3) or list(range(len(starts)))
    steps = _integers(node, 4) or [1] * len(starts)
    ranges: dict[int, tuple[int, int, int]] = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= value.rank
        if axis == 0:
            if (start, step) != (0, 1) or end < _TO_THE_END:
                return "it slices the batch"
            continue
        picked = range(*slice(start, end, step).indices(value.sample_shape[axis - 1]))
        last = picked[0] + step * len(picked)
        ranges[axis] = (picked[0], last if step < 0 else picked[-1] + 1, step)
        if last < 0:
            ranges[axis] = (picked[0], -value.sample_shape[axis - 1] - 1, step)
    _set(node, ranges)
    return None


def _integers(node: Node, index: int) -> list[int]:
    array = node.constant(index)
    return [] if array is None else [int(number) for number in array.reshape(-1)]


def _set(node: Node, ranges: dict[int, tuple[int, int, int]]) -> None:
    """Give a Slice its constants: axis -> (start, end, step)."""
    axes = sorted(ranges)
    columns = [
        [ranges[axis][0] for axis in axes],
        [ranges[axis][1] for axis in axes],
        axes,
        [ranges[axis][2] for axis in axes],
    ]
    for index, (role, column) in enumerate(zip(("starts", "ends", "axes", "steps"), columns, strict=True), start=1):
        node.set_constant(index, role, np.array(column, np.int64))
