"""Fold a Pad into the window op that reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module

_NEVER_NEGATIVE = ("HardSigmoid", "Relu", "Sigmoid")


@dataclass(frozen=True)
class FoldPadding(Pass):
    """Fold a constant Pad over space into the pads of the Conv or pool that alone reads it, where that is exact.

    A Conv pads with zeros, so zeros fold. An AveragePool that counts its padding pads with counted zeros, so they
    fold if it counts its own pads or has none. A MaxPool pads with what never wins: minus infinity folds, and so
    does zero where nothing that is padded is negative and every window holds an element that is not padding.
    """

    name: ClassVar[str] = "fold-padding"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        for pad in module.graph.nodes("Pad"):
            reason = _fold(module.graph, pad)
            if reason is None:
                changes.change(pad)
            else:
                changes.refuse(pad, reason)
        return changes


def _fold(graph: Graph, pad: Node) -> str | None:
    value, made, pads, fill = pad.operand(0), pad.output, pad.constant(1), pad.constant(2)
    if pad.attribute("mode", "constant") != "constant" or pads is None or pad.input(3) is not None:
        return "it is not a Pad by a constant over all axes: run canonicalize-pads first"
    if made.is_output:
        return f"{made.name} is an output of the graph"
    if len(made.consumers) != 1:
        return f"{made.name} is used more than once"
    (window,) = made.consumers
    if window.op not in ("Conv", "AveragePool", "MaxPool") or window.operand(0) != made:
        return f"{made.name} does not go into a Conv or a pool"
    if window.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or window.attribute("ceil_mode", 0):
        return f"{window.where} does not say its padding: run explicit-padding first"
    rank = value.rank
    begin, end = [int(p) for p in pads[:rank]], [int(p) for p in pads[rank:]]
    if any((*begin[:2], *end[:2])):
        return "it pads channels"
    if min(*begin, *end) < 0:
        return "it crops"
    own = [int(p) for p in window.attribute("pads", [0] * 2 * (rank - 2))]
    total = [new + old for new, old in zip([*begin[2:], *end[2:]], own, strict=True)]
    reason = _why_inexact(window, value, 0.0 if fill is None else float(fill.item()), own, total)
    if reason is not None:
        return reason
    window.set_attributes(pads=total)
    if window.op == "AveragePool":
        window.set_attributes(count_include_pad=1)
    graph.replace(made, value)
    graph.remove(pad)
    return None


def _why_inexact(window: Node, value: Value, fill: float, own: list[int], total: list[int]) -> str | None:
    if window.op == "Conv":
        return None if fill == 0 else f"it pads with {fill}, a Conv with zeros"
    kernel = [int(k) for k in window.attribute("kernel_shape")]
    if any(pad >= size for pad, size in zip(total, [*kernel, *kernel], strict=True)):
        return f"a window of {window.where} would hold nothing but padding"
    if window.op == "AveragePool":
        if fill != 0:
            return f"it pads with {fill}, an AveragePool with zeros"
        if any(own) and not window.attribute("count_include_pad", 0):
            return f"{window.where} does not count its own padding"
        return None
    if fill == -np.inf:
        return None
    if fill != 0:
        return f"it pads with {fill}, a MaxPool with what never wins"
    if any(d != 1 for d in window.attribute("dilations", [1])):
        return f"a window of {window.where} may hold nothing but padding"
    return None if _never_negative(value) else f"{value.name} may be negative, and then the zeros around it win"


def _never_negative(value: Value) -> bool:
    producer = value.producer
    if producer is None:
        return False
    if producer.op == "Clip":
        lowest = producer.constant(1)
        return lowest is not None and float(lowest.item()) >= 0
    return producer.op in _NEVER_NEGATIVE
