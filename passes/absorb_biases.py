"""High-bias absorption: what an activation always exceeds moves into the bias of the op that reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.errors import PipelineError
from bitsmith.execution.channels import ChannelStatistics, channel_statistics
from bitsmith.ir.fusion import channel_caps
from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.affine import Affine, fold_after, fold_before
from bitsmith.passes.equalize.apply import set_upper_bounds, upper_bounds
from bitsmith.passes.equalize.channels import SCALABLE, is_clip_from_zero, keeps_channel_order, unscalable


@dataclass(frozen=True)
class Absorption:
    """Two linear ops with clamps from 0 between them, and what may be taken off each channel.

    bounded: the Clips and Mins on the way, whose upper bounds move along.
    repeat:  how many neighbouring inputs of `second` read one channel of `first`.
    """

    first: Node
    second: Node
    bounded: tuple[Node, ...]
    repeat: int


@dataclass(frozen=True)
class AbsorbBiases(Pass):
    """Take c off the bias of a linear op, and give W2 c to the bias of the one that reads it through a Relu.

    relu(W1 x + b1) = relu(W1 x + b1 - c) + c  wherever W1 x + b1 >= c >= 0, so the next op may have b2 + W2 c
    instead, and the activation between them a range that is smaller by c. Per channel c = max(0, mean - 3 deviations)
    of what goes into the Relu (Nagel et al. 2019, arXiv:1906.04721, section 4.1.3), and no more than lies a deviation
    below the smallest value of any calibration sample. So on these the function stays what it was, and fresh samples
    seldom reach below, where the paper's c clips one value in a thousand. Caps move along:
    min(relu(x), k) - c = min(relu(x - c), k - c).

    An op that pads with zeros reads 0 at its border and not c, so it is refused: no bias would be right for both.

    deviations: how many standard deviations below its mean a channel is taken to reach.
    """

    name: ClassVar[str] = "absorb-biases"

    deviations: float = 3.0

    def run(self, module: Module) -> Changes:
        if self.deviations < 0:
            raise PipelineError(f"deviations={self.deviations}", where=f"pass {self.name}", fix="Give 0 or more.")
        if module.plan.formats:
            raise PipelineError(
                "formats are decided already, and would be those of other ranges",
                where=f"pass {self.name}",
                fix="Put absorb-biases before the passes that quantize.",
            )
        changes = Changes()
        found: list[Absorption] = []
        for node in module.graph.nodes(*SCALABLE):
            one = _absorption(node)
            if isinstance(one, str):
                changes.refuse(node, one)
            else:
                found.append(one)
        seen = channel_statistics(
            module.graph, [one.first.output for one in found], module.require_calibration(), module.progress, self.name
        )
        for one in found:
            self._absorb(module.graph, one, seen[one.first.output], changes)
        if changes.made:
            module.statistics = None
        return changes

    def _absorb(self, graph: Graph, one: Absorption, seen: ChannelStatistics, changes: Changes) -> None:
        high = np.minimum(seen.mean - self.deviations * seen.deviation, seen.minimum - seen.deviation)
        for node in one.bounded:
            high = np.minimum(high, upper_bounds(node))
        high = np.maximum(high, 0.0)
        if not high.any():
            changes.refuse(one.first, "no channel always stays above 0")
            return
        spread = np.repeat(high, one.repeat)
        held = one.first.operand(2).constant
        reason = fold_after(one.first, Affine(one.first.output, np.ones_like(high), -high, 1))
        if reason is None:
            reason = fold_before(Affine(one.second.operand(0), np.ones_like(spread), spread, 1), one.second)
            if reason is not None and held is not None:
                one.first.operand(2).constant = held
        if reason is not None:
            changes.refuse(one.first, reason)
            return
        for node in one.bounded:
            set_upper_bounds(graph, node, upper_bounds(node) - high)
        changes.change(f"{one.first.where}: {np.count_nonzero(high)} of {len(high)} channels, to {one.second.where}")


def _absorption(first: Node) -> Absorption | str:
    """The pair that a linear op begins, or why it begins none."""
    reason = unscalable(first)
    value, bounded, clamped = first.output, list[Node](), False
    while reason is None:
        if value.is_output:
            return f"{value.name} is an output of the graph"
        if value.is_shared or len(value.consumers) != 1:
            return f"{value.name} is used elsewhere too"
        node = value.consumers[0]
        if node.op in SCALABLE and node.operand(0) == value:
            channels, inputs = first.output.shape[1], value.shape[1]
            assert channels is not None
            assert inputs is not None
            return _checked(Absorption(first, node, tuple(bounded), inputs // channels), clamped)
        reason = _blocked(node, value)
        clamped |= node.op in ("Relu", "Clip")
        if node.op in ("Clip", "Min"):
            bounded.append(node)
        value = node.output if reason is None else value
    return reason


def _checked(found: Absorption, clamped: bool) -> Absorption | str:
    reason = unscalable(found.second)
    if reason is not None:
        return reason
    if not clamped:
        return f"no Relu stands between it and {found.second.where}: their biases are one already"
    if any(found.second.attribute("pads", ())):
        return f"{found.second.where} pads with zeros, which would have to be shifted too"
    return found


def _blocked(node: Node, value: Value) -> str | None:
    """Why a shift per channel of `value` does not pass through a node, or None."""
    if len(node.outputs) != 1 or node.operand(0) != value:
        return f"{node.where} does not keep the channels of {value.name} apart"
    if node.op in ("Relu", "MaxPool", "GlobalAveragePool"):
        return None
    if node.op == "Clip" and is_clip_from_zero(node):
        return None
    if node.op == "Min" and channel_caps(node) is not None:
        return None
    if node.op == "AveragePool" and not (any(node.attribute("pads", ())) and node.attribute("count_include_pad", 0)):
        return None
    if node.op == "Reshape" and keeps_channel_order(value, node.output):
        return None
    return f"{node.where} is not known to commute with a shift per channel"
