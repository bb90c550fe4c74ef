"""Channels that are the same for every input are computed once, here, and not on the device."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from bitsmith.ir.bounds import bounds
from bitsmith.ir.validate import validate
from bitsmith.manager import Changes, Pass
from bitsmith.measure import macs_in_all
from bitsmith.module import Module
from bitsmith.passes.drop_constant_channels.choice import dropped_channels
from bitsmith.passes.drop_constant_channels.ranges import channel_ranges
from bitsmith.passes.drop_constant_channels.slicing import without


@dataclass(frozen=True)
class DropConstantChannels(Pass):
    """Drop channels of the integer graph that are constant for every possible input, and change no output.

    With x in [l, h] the accumulator of an output channel stays in [b + sum min(w*(l-z), w*(h-z)), b + sum max(...)],
    and requantizing is monotone: where it makes one integer c of both ends, the channel is c for every input. Such a
    channel is, as a rule, a Relu that never opens: c stands for 0. In a Conv or Linear that reads it,

        b + sum w*(x-z) + v*(c-z) = (b + v*(c-z)) + sum w*(x-z),

    so it goes into the bias: exactly. Channels go through what keeps them apart (depthwise Conv, pools, tables,
    flattening) together with what they are made into. Fewer inputs bound the rest more tightly, so it is done until
    nothing changes. Values that an Add or Concat reads, and outputs, keep all their channels.
    """

    name: ClassVar[str] = "drop-constant-channels"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        before = graph = module.require_integer()
        gone: Counter[str] = Counter()
        while True:
            ranges = channel_ranges(graph)
            dropped = dropped_channels(graph, ranges)
            if not dropped:
                break
            for operation in graph:
                if operation.output in dropped:
                    gone[operation.name] += int(dropped[operation.output].sum())
            graph = without(graph, dropped, ranges)
        if gone:
            validate(graph)
            bounds(graph)
            module.integer = graph
            for name in gone:
                changes.change(name)
            saved = macs_in_all(before) - macs_in_all(graph)
            changes.note(
                f"{sum(gone.values()):,} channels that no input changes, and {saved:,} multiply-accumulates with them"
            )
        return changes
