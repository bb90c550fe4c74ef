"""Cross-layer equalization: give neighbouring linear ops equal weight ranges, channel by channel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.ir.graph import Node, Value
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.affine import Affine, Vector, fold_after, fold_before
from bitsmith.passes.canonicalize_gemm import canonicalize, is_canonical

PAIRED = ("Conv", "Gemm")
SETTLED = 1e-5
LARGEST_STEP = 1e4


@dataclass(frozen=True)
class Pair:
    """Two linear ops; channel c of `first` is read as channels c * repeat .. (c + 1) * repeat - 1 of `second`."""

    first: Node
    second: Node
    repeat: int


@dataclass(frozen=True)
class Equalize(Pass):
    """Scale channel i of a linear op by 1 / s_i and what the next linear op reads of it by s_i.

    With r1_i and r2_i the largest |weight| that makes and that reads the channel, s_i = sqrt(r1_i r2_i) / r2_i
    makes both sqrt(r1_i r2_i):  W1' = W1 / s,  b1' = b1 / s,  W2' = W2 * s.  What stands between must commute with
    a positive scale per channel. Pairs that share an op disturb each other, so all are visited in turn until every
    scale is within 1e-5 of 1, or `iterations` times. Nagel et al. 2019, arXiv:1906.04721, section 4.1.
    """

    name: ClassVar[str] = "equalize"
    iterations: int = 100

    def run(self, module: Module) -> Changes:
        changes = Changes()
        pairs: list[Pair] = []
        for node in module.graph.nodes(*PAIRED):
            found = _pair(node)
            if isinstance(found, str):
                changes.refuse(node, found)
            else:
                pairs.append(found)
        touched: set[Node] = set()
        for _ in range(self.iterations):
            moved = [pair.first for pair in pairs if _equalize(pair, changes)]
            touched.update(moved)
            if not moved:
                break
        for pair in pairs:
            if pair.first in touched:
                changes.change(f"{pair.first.where} with {pair.second.where}")
        return changes


def _pair(first: Node) -> Pair | str:
    """The pair that a linear op begins, or why it begins none."""
    reason = _unready(first)
    value, repeat = first.output, 1
    while reason is None:
        if value.is_output:
            return f"{value.name} is an output of the graph"
        if value.is_shared or len(value.consumers) != 1:
            return f"{value.name} is used elsewhere too"
        node = value.consumers[0]
        if node.op in PAIRED and node.input(0) == value:
            reason = _unready(node)
            return Pair(first, node, repeat) if reason is None else reason
        reason = _blocked(node, value)
        if reason is None:
            before, after = value.shape[1], node.output.shape[1]
            assert before is not None
            assert after is not None
            repeat, value = repeat * (after // before), node.output
    return reason


def _unready(linear: Node) -> str | None:
    """Why a linear op cannot be scaled, or None."""
    if linear.constant(1) is None:
        return f"the weight of {linear.where} is not constant"
    if linear.input(2) is not None and linear.constant(2) is None:
        return f"the bias of {linear.where} is not constant"
    reason = None if is_canonical(linear) else canonicalize(linear)
    return None if reason is None else f"{linear.where}: {reason}"


def _blocked(node: Node, value: Value) -> str | None:
    """Why a scale per channel of `value`, the first operand, does not pass through a node, or None."""
    if node.input(0) != value:
        return f"{node.where} does not keep the channels of {value.name} apart"
    if node.op in ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool"):
        return None if len(node.outputs) == 1 else f"{node.where} has several outputs"
    if node.op == "PRelu":
        return None if node.constant(1) is not None else f"the slope of {node.where} is not constant"
    if node.op == "Clip":
        return f"{node.where} is not positively homogeneous: each channel would need bounds of its own"
    if node.op == "Pad":
        return None if _pads_space_with_zero(node) else f"{node.where} does more than pad space with zeros"
    if node.op == "Reshape":
        return None if _keeps_channel_order(value, node.output) else f"{node.where} mixes channels with space"
    return f"{node.where} is not known to commute with a scale per channel"


def _pads_space_with_zero(pad: Node) -> bool:
    pads, filler = pad.constant(1), pad.constant(2)
    if pad.attribute("mode", "constant") != "constant" or pads is None or pad.input(3) is not None:
        return False
    if pad.input(2) is not None and (filler is None or np.any(filler != 0)):
        return False
    return not pads.reshape(2, -1)[:, :2].any()


def _keeps_channel_order(value: Value, reshaped: Value) -> bool:
    if reshaped.rank < 2 or value.rank < 2 or value.shape[0] != reshaped.shape[0]:
        return False
    if value.shape[1] == reshaped.shape[1]:
        return True
    space = [size or 0 for size in value.shape[1:]]
    return reshaped.rank == 2 and reshaped.shape[1] == math.prod(space)


def ranges_out(linear: Node) -> Vector:
    """The largest |weight| per output channel, shape (channels,)."""
    weight = linear.operand(1).constant
    assert weight is not None
    return np.asarray(np.abs(weight).reshape(len(weight), -1).max(axis=1), np.float64)


def ranges_in(linear: Node, repeat: int = 1) -> Vector:
    """The largest |weight| that reads each channel, of `repeat` neighbouring inputs; shape (inputs / repeat,)."""
    weight = linear.operand(1).constant
    assert weight is not None
    groups = linear.attribute("group", 1) if linear.op == "Conv" else 1
    apart = np.abs(weight).reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    return np.asarray(apart.max(axis=(1, 3)).reshape(-1, repeat).max(axis=1), np.float64)


def _equalize(pair: Pair, changes: Changes) -> bool:
    """Equalize the two ranges of each channel; False if they were equal, or the result is refused with a reason."""
    made, read = ranges_out(pair.first), ranges_in(pair.second, pair.repeat)
    alive = (made > 0) & (read > 0)
    scale = np.sqrt(np.where(alive, made, 1.0) / np.where(alive, read, 1.0))
    scale = np.clip(scale, 1 / LARGEST_STEP, LARGEST_STEP)
    if np.all(np.abs(scale - 1) < SETTLED):
        return False
    zero, weight = np.zeros_like(scale), pair.second.operand(1)
    held = weight.constant
    spread = np.repeat(scale, pair.repeat)
    before = Affine(pair.second.operand(0), spread, np.zeros_like(spread), 1)
    reason = fold_before(before, pair.second)
    if reason is None:
        reason = fold_after(pair.first, Affine(pair.first.output, 1 / scale, zero, 1))
        if reason is not None:
            assert held is not None
            weight.constant = held
    if reason is None:
        return True
    if (pair.first.where, reason) not in changes.refused:
        changes.refuse(pair.first, reason)
    return False
