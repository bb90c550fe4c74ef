"""Channels that are the same for every input leave the float graph, and what they add goes into biases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bitsmith.ir.statistics import Statistics
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.drop_dead_channels.choice import dropped_groups
from bitsmith.passes.drop_dead_channels.ranges import channel_ranges
from bitsmith.passes.drop_dead_channels.slicing import slice_graph, slice_statistics
from bitsmith.passes.equalize.channels import channel_groups


@dataclass(frozen=True)
class DropDeadChannels(Pass):
    """Drop channels that are constant wherever values stay within the ranges that calibration saw.

    With x_i in [l_i, h_i], what a Conv or Gemm makes stays in [b + sum min(w_i l_i, w_i h_i), b + sum max(...)]. A
    channel whose two ends are one float32 c behind its activation is c for every input: as a rule 0, of a Relu that
    never opens since training let its weights decay. In the layers that read it,

        b + sum w_i x_i + v c = (b + v c) + sum w_i x_i,

    where no padding stands in for c, or c is 0, which is what padding is. It goes from depthwise layers, pools and
    activations on the way, and all that follows sees a smaller network: bits, budgets and statistics are of what is
    left. Integers are clamped to these very ranges, so nothing that they could say is lost; `drop-constant-channels`
    does the same to integers, whose channels are constant more often.

    It needs `calibrate`, on samples that someone measured, and comes before anything has a format.
    """

    name: ClassVar[str] = "drop-dead-channels"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        statistics = module.require_statistics()
        if module.calibration is None or module.made_up is not None:
            changes.note("ranges are guessed, not seen: nothing is proved by them")
            return changes
        if module.plan.formats or not _has_silent_channels(statistics):
            return changes
        ranges = channel_ranges(module.graph, statistics)
        groups = channel_groups(module.graph)
        dropped = dropped_groups(module.graph, groups, ranges)
        if not dropped.any():
            return changes
        kept = {value: ~dropped[channels] for value, channels in groups.of.items() if dropped[channels].any()}
        rows = slice_graph(module.graph, groups.linear, kept, ranges)
        module.statistics = slice_statistics(module.graph, statistics, kept, ranges)
        for node, count in rows.items():
            changes.change(f"{node.where}: {count} output channels")
        changes.note(f"{sum(rows.values()):,} channels are the same for every input")
        return changes


def _has_silent_channels(statistics: Statistics) -> bool:
    """Whether any channel was 0 on all samples, on the average: without one, no proof is worth trying."""
    return any((one.channel_mean == 0).any() for one in statistics.values.values())
