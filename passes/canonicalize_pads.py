"""Every Pad as one form of Pad."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.ir.graph import Graph, Node
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module


@dataclass(frozen=True)
class CanonicalizePads(Pass):
    """Give every Pad by a constant two operands: pads for every axis, none of them negative, and the value.

    A negative pad crops, so it becomes a Slice in front of what is left of the Pad.
    """

    name: ClassVar[str] = "canonicalize-pads"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        for node in module.graph.nodes("Pad"):
            before = _form(node)
            reason = _canonicalize(module.graph, node)
            if reason is not None:
                changes.refuse(node, reason)
            elif _form(node) != before:
                changes.change(node)
        return changes


def _form(node: Node) -> tuple[object, ...]:
    arrays = [None if a is None else (a.shape, a.tolist()) for a in map(node.constant, range(1, 4))]
    return (*arrays, len(node.inputs), node.attribute("mode"))


def _canonicalize(graph: Graph, node: Node) -> str | None:
    value, fill, axes = node.input(0), node.input(2), node.input(3)
    mode = node.attribute("mode", "constant")
    if mode != "constant":
        return f"it pads in mode {mode}"
    if value is None or value.constant is not None or value.rank == 0 or value.shape[0] is not None:
        return "the first dimension of its input is not the batch"
    for operand in (fill, axes):
        if operand is not None and operand.constant is None:
            return f"{operand.name} is not constant"
    amounts = node.constant(1)
    if amounts is None:
        return f"{node.operand(1).name} is not constant"
    rank = value.rank
    given = [int(number) for number in amounts.reshape(-1)]
    numbers = node.constant(3)
    order = list(range(rank)) if numbers is None else [int(axis) % rank for axis in numbers.reshape(-1)]
    begin, end = [0] * rank, [0] * rank
    for position, axis in enumerate(order):
        begin[axis], end[axis] = given[position], given[position + len(order)]
    if begin[0] or end[0]:
        return "it pads the batch"
    if min(*begin, *end) < 0:
        _crop(graph, node, begin, end)
        begin, end = [max(0, b) for b in begin], [max(0, e) for e in end]
    scalar = node.constant(2)
    zero = np.zeros((), np.float32) if scalar is None else scalar.reshape(()).astype(np.float32)
    node.set_attributes(mode="constant")
    while len(node.inputs) > 3:
        node.drop_input()
    node.set_constant(1, "pads", np.array([*begin, *end], np.int64))
    node.set_constant(2, "value", zero)
    return None


def _crop(graph: Graph, node: Node, begin: list[int], end: list[int]) -> None:
    value = node.operand(0)
    axes = [axis for axis in range(1, value.rank) if begin[axis] < 0 or end[axis] < 0]
    starts = [max(0, -begin[axis]) for axis in axes]
    ends = [value.sample_shape[axis - 1] - max(0, -end[axis]) for axis in axes]
    shape = list(value.shape)
    for axis, start, stop in zip(axes, starts, ends, strict=True):
        shape[axis] = stop - start
    columns = (starts, ends, axes, [1] * len(axes))
    operands = [graph.add_constant(f"{node.name}.crop", np.array(column, np.int64)) for column in columns]
    node.set_input(0, graph.add_node("Slice", [value, *operands], f"{node.name}.crop", shape).output)
