"""Which channels of a graph must share one scale, where each channel of each value may be divided by its own.

A Relu passes the scale of a channel on; an Add asks that both operands carry the same one, and so a whole chain of
residual blocks shares one vector; a Concat lays vectors side by side. Linear ops stand between: what they make and
what they read are scaled independently.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from networkx.utils import UnionFind

from bitsmith.ir.fusion import channel_caps
from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.passes.canonicalize_gemm import canonicalize, is_canonical

Indices = npt.NDArray[np.int64]
Tie = tuple[Indices, Indices]

SCALABLE = ("Conv", "Gemm")
"""Linear ops whose channels are axis 1 on both sides."""

HOMOGENEOUS = ("AveragePool", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Relu")
GATES = ("HardSigmoid", "Sigmoid")


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear op: the groups that its output channels are in, and those of the channels that it reads."""

    node: Node
    makes: Indices
    reads: Indices


@dataclass(frozen=True, eq=False)
class ChannelGroups:
    """The partition of all channels into groups of one scale each.

    count:   how many groups there are.
    of:      by value of rank 2 or more, the group of each of its channels (axis 1).
    linear:  the ops that can be scaled, in execution order.
    fixed:   by group, why its scale must stay 1.
    """

    count: int
    of: dict[Value, Indices]
    linear: tuple[Linear, ...]
    fixed: dict[int, str]

    @property
    def is_free(self) -> npt.NDArray[np.bool_]:
        """Whether each group may be scaled."""
        free = np.ones(self.count, bool)
        free[list(self.fixed)] = False
        return free


def channel_groups(graph: Graph) -> ChannelGroups:
    """The groups of a graph of legal ops; canonicalizes its Gemms on the way."""
    slots = _slots(graph)
    union = UnionFind(range(sum(len(channels) for channels in slots.values())))
    inputs, outputs = ([value for value in ends if value in slots] for ends in (graph.inputs, graph.outputs))
    pinned: list[tuple[Indices, str]] = [(slots[value], f"{value.name} is an input of the graph") for value in inputs]
    linear: list[Node] = []
    for node in graph.nodes():
        around = [slots[value] for value in (*node.inputs, *node.outputs) if value in slots]
        found = unscalable(node) if node.op in SCALABLE else _ties(node, slots)
        if isinstance(found, str):
            pinned.extend((channels, found) for channels in around)
        elif found is None:
            linear.append(node)
        else:
            for one, other in found:
                for pair in zip(one.tolist(), other.tolist(), strict=True):
                    union.union(*pair)
    pinned.extend((slots[value], f"{value.name} is an output of the graph") for value in outputs)
    number: dict[int, int] = {}
    of = {
        value: np.array([number.setdefault(union[slot], len(number)) for slot in channels.tolist()], np.int64)
        for value, channels in slots.items()
    }
    fixed: dict[int, str] = {}
    for channels, reason in pinned:
        for slot in channels.tolist():
            fixed.setdefault(number[union[slot]], reason)
    found_linear = tuple(Linear(node, of[node.output], of[node.operand(0)]) for node in linear)
    return ChannelGroups(len(number), of, found_linear, fixed)


def _slots(graph: Graph) -> dict[Value, Indices]:
    """Every channel of every computed value, numbered through."""
    slots: dict[Value, Indices] = {}
    first = 0
    for value in graph.values():
        if value.constant is None and value.rank >= 2 and value.shape[1] is not None:
            slots[value] = np.arange(first, first + value.shape[1])
            first += value.shape[1]
    return slots


def unscalable(node: Node) -> str | None:
    """Why a linear op cannot be scaled, or None."""
    if node.constant(1) is None:
        return f"the weight of {node.where} is not constant"
    if node.input(2) is not None and node.constant(2) is None:
        return f"the bias of {node.where} is not constant"
    reason = None if is_canonical(node) else canonicalize(node)
    return None if reason is None else f"{node.where}: {reason}"


def _ties(node: Node, slots: dict[Value, Indices]) -> list[Tie] | str:
    """The channels that a node makes one scale of, or why none passes through it."""
    if len(node.outputs) != 1 or node.output not in slots:
        return f"{node.where} has several outputs, or one without channels"
    made = slots[node.output]
    computed = [value for value in node.inputs if value is not None and value.constant is None]
    if any(value not in slots for value in computed):
        return f"{node.where} reads a value without channels"
    if node.op in ("Add", "Sub", "Mul", "Concat"):
        return _joins(node, computed, slots)
    x = node.operand(0)
    reason = _blocked(node, x)
    if reason is not None or len(computed) != 1:
        return reason or f"{node.where} reads several computed values"
    if node.op == "Slice":
        return [(slots[x][_sliced(node, len(slots[x]))], made)]
    if node.op == "Pad":
        # Channels of zeros that are put before or after have scales of their own.
        pads = node.operand(1).array
        return [(slots[x], made[int(pads[1]) :][: len(slots[x])])]
    return [(np.repeat(slots[x], len(made) // len(slots[x])), made)]


def _joins(node: Node, computed: list[Value], slots: dict[Value, Indices]) -> list[Tie] | str:
    made = slots[node.output]
    if len(computed) != len(node.inputs):
        return f"{node.where} has a constant operand"
    if node.op == "Mul":
        gated = [value for value in computed if value.producer is None or value.producer.op not in GATES]
        if len(gated) != 1 or gated[0].shape != node.output.shape:
            return f"{node.where} multiplies two values that may both be scaled"
        return [(slots[gated[0]], made)]
    if node.op == "Concat" and int(node.attribute("axis")) % node.output.rank == 1:
        return [(np.concatenate([slots[value] for value in computed]), made)]
    if any(value.rank != node.output.rank or len(slots[value]) != len(made) for value in computed):
        return f"{node.where} broadcasts over channels"
    return [(slots[value], made) for value in computed]


def _blocked(node: Node, x: Value) -> str | None:
    """Why a positive scale per channel of `x` does not pass through a node that reads it alone, or None."""
    if node.op in HOMOGENEOUS:
        return None
    if node.op == "PRelu":
        return None if node.constant(1) is not None else f"the slope of {node.where} is not constant"
    if node.op == "Clip":
        return None if is_clip_from_zero(node) else f"the lower bound of {node.where} is not 0"
    if node.op == "Min":
        return None if channel_caps(node) is not None else f"{node.where} does not bound each channel by a constant"
    if node.op == "Pad":
        return None if _pads_with_zero(node) else f"{node.where} does more than pad with zeros"
    if node.op == "Reshape":
        return None if keeps_channel_order(x, node.output) else f"{node.where} mixes channels with space"
    if node.op == "Resize":
        is_nearest = node.attribute("mode", "nearest") == "nearest" and x.shape[1] == node.output.shape[1]
        return None if is_nearest else f"{node.where} does more than repeat elements in space"
    if node.op == "Transpose":
        return None if list(node.attribute("perm", ()))[:2] == [0, 1] else f"{node.where} moves the channels"
    if node.op == "Slice":
        given = [node.constant(index) for index in range(1, 5)]
        return None if all(array is not None for array in given) else f"{node.where} is not spelled out"
    return f"{node.where} is not known to commute with a scale per channel"


def is_clip_from_zero(node: Node) -> bool:
    """Whether a Clip clamps to [0, c] with one constant c: a scaled channel then needs a cap of its own, c / s."""
    low, high = node.constant(1), node.constant(2)
    return low is not None and high is not None and low.size == 1 == high.size and float(low.item()) == 0 <= high.item()


def _pads_with_zero(pad: Node) -> bool:
    pads, filler = pad.constant(1), pad.constant(2)
    if pad.attribute("mode", "constant") != "constant" or pads is None or pad.input(3) is not None:
        return False
    if pad.input(2) is not None and (filler is None or np.any(filler != 0)):
        return False
    return bool(pads.min() >= 0) and not pads.reshape(2, -1)[:, 0].any()


def keeps_channel_order(value: Value, reshaped: Value) -> bool:
    """Whether each channel of a reshaped value is a run of neighbours there, or a channel still."""
    if value.shape[0] != reshaped.shape[0]:
        return False
    if value.shape[1] == reshaped.shape[1]:
        return True
    space = [size or 0 for size in value.shape[1:]]
    return reshaped.rank == 2 and reshaped.shape[1] == math.prod(space)


def _sliced(node: Node, channels: int) -> Indices:
    """Which channels a Slice keeps."""
    kept = np.arange(channels)
    ranges = [array.tolist() for index in range(1, 5) if (array := node.constant(index)) is not None]
    for start, end, axis, step in zip(*ranges, strict=True):
        if axis % node.output.rank == 1:
            kept = kept[start:end:step]
    return kept
