"""What a sequence of stages asks of the arena: which bytes live from when to when, and which may overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitsmith.backends.c.buffer import Buffer, Overlap, whole_words
from bitsmith.backends.c.layout import Tensor
from bitsmith.backends.c.memory import MemoryPlan, needs, plan
from bitsmith.backends.c.stage import Stage
from bitsmith.ir.integer import IntegerGraph


@dataclass(frozen=True, eq=False)
class Arena:
    """The values of a graph as the planner sees them.

    homes: by value, the value in whose memory it lies.
    """

    graph: IntegerGraph
    tensors: Mapping[str, Tensor]
    homes: Mapping[str, str]

    def plan(self, stages: Sequence[Stage]) -> MemoryPlan:
        """Offsets for everything that these stages, in this order, need memory for."""
        return plan(self.buffers(stages), self.overlaps(stages))

    def needs(self, stages: Sequence[Stage]) -> dict[int, int]:
        """The bytes that any plan has in use at each stage, by its position."""
        gaps = {(one.written, one.read): whole_words(one.gap) for one in self.overlaps(stages)}
        return needs(self.buffers(stages), gaps)

    def last_reads(self, stages: Sequence[Stage]) -> dict[str, int]:
        """The position of the stage that reads each home last; outputs of the graph are needed after all."""
        last = dict.fromkeys(self.graph.inputs, 0)
        for position, stage in enumerate(stages):
            last[stage.output.name] = position
            for tensor in stage.inputs:
                if tensor.name not in self.graph.constants:
                    last[self.homes[tensor.name]] = position
        return {**last, **{self.homes[name]: len(stages) for name in self.graph.outputs}}

    def buffers(self, stages: Sequence[Stage]) -> list[Buffer]:
        """All values and all scratch, with the stages at which they are in use."""
        last = self.last_reads(stages)
        fetched = {stage.fetched.name for stage in stages if stage.fetched is not None}
        held = [name for name in self.graph.inputs if name not in fetched]
        buffers = [Buffer(name, self.tensors[name].bytes, 0, last[name]) for name in held]
        for position, stage in enumerate(stages):
            name = stage.output.name
            buffers.append(Buffer(name, stage.output.bytes, position, last[name]))
            if stage.scratch:
                alignment = stage.scratch_alignment
                buffers.append(Buffer(stage.scratch_name, stage.scratch, position, position, alignment))
        return buffers

    def overlaps(self, stages: Sequence[Stage]) -> list[Overlap]:
        """What each stage may write over what it reads for the last time."""
        last = self.last_reads(stages)
        return [
            Overlap(stage.output.name, read, gap)
            for position, stage in enumerate(stages)
            for read, gap in self.gaps(stage).items()
            if last[read] == position
        ]

    def gaps(self, stage: Stage) -> dict[str, int | None]:
        """By home of an input, how the output of a stage may overlap it where no later one reads it."""
        found: dict[str, int | None] = {}
        for operand in stage.gaps:
            read = self.homes[stage.inputs[operand].name]
            # A value that is an operand twice must bear with both.
            both = [other for other, one in enumerate(stage.inputs) if self.homes.get(one.name) == read]
            if all(one in stage.gaps for one in both):
                gaps = [stage.gaps[one] for one in both]
                at_least = [gap for gap in gaps if gap is not None]
                if len(at_least) == len(gaps):
                    found[read] = max(at_least)
                elif all(gap <= 0 for gap in at_least):
                    found[read] = None
        return found
