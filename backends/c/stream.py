"""A stage that makes its result row by row, through layers whose values never are in memory whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bitsmith.backends.c.kernels import Kernel, Site
from bitsmith.backends.c.layout import Tensor
from bitsmith.backends.c.names import identifiers
from bitsmith.backends.c.rolling import Call, Layer, Move, Rolling, roll
from bitsmith.backends.c.rows import Span, height, reaches, row_bytes, striped
from bitsmith.backends.c.stage import Stage, Step

Key = tuple[int, int, tuple[Span, ...]]
"""What tells functions of a layer apart: the layer, the rows it makes, and the rows and padding that it sees."""


FETCHED = ""
"""In place of a value's name, where the advance is that of the rows which are fetched."""


@dataclass(frozen=True)
class Round:
    """Rounds that are alike: `times` of them, places in whole values going on by `advance` rows from one to the next.

    events: of the first one. advance: by value.
    """

    times: int
    events: tuple[Move | Call, ...]
    advance: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Stream(Stage):
    """Layers that a `Rolling` order runs through.

    whole:   the layers as they would be done one after another, the last making the result.
    source:  what is fetched row by row, as the first layer of `rolling`, if anything is.
    parts:   a step for each function that is called. calls: of each call, the part that it is of.
    buffers: where each value's rows lie in the scratch, and after them the scratch of the parts, at `workspace`.
    """

    name: str
    whole: tuple[Step, ...]
    source: Tensor | None
    rolling: Rolling
    parts: Mapping[Key, Step]
    buffers: Mapping[str, int]
    workspace: int

    @property
    def function(self) -> str:
        return self.name

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        made = {step.output.name for step in self.whole} | ({self.source.name} if self.source else set())
        read = {tensor.name: tensor for step in self.whole for tensor in step.computed}
        return tuple(tensor for name, tensor in read.items() if name not in made)

    @property
    def computed(self) -> tuple[Tensor, ...]:
        return self.inputs

    @property
    def output(self) -> Tensor:
        return self.whole[-1].output

    @property
    def scratch(self) -> int:
        return self.workspace + max(step.scratch for step in self.parts.values())

    @property
    def scratch_alignment(self) -> int:
        return max(step.scratch_alignment for step in self.parts.values())

    @property
    def gaps(self) -> Mapping[int, int | None]:
        """The result may run after what is read: rows are written where none is needed any more."""
        to = row_bytes(self.output)
        found = {}
        for position, tensor in enumerate(self.inputs):
            needed = [(made * to, still[tensor.name]) for still, made in self.rolling.still]
            found[position] = max(
                made - first * row_bytes(tensor) if first < height(tensor) else made - tensor.bytes
                for made, first in needed
            )
        return found

    @property
    def macs(self) -> int:
        return sum(step.macs for step in self.whole)

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(self.parts.values())

    @property
    def moved(self) -> int:
        """Bytes that are copied to the front of buffers."""
        moves = [event for events in self.rolling.rounds for event in events if isinstance(event, Move)]
        return sum(event.count * row_bytes(self.tensor(event.value)) for event in moves)

    @property
    def fetched(self) -> Tensor | None:
        return self.source

    @property
    def calls(self) -> int:
        """How often functions are called."""
        return sum(isinstance(event, Call) for events in self.rolling.rounds for event in events)

    def parameter(self, tensor: Tensor) -> str:
        """The name in C of a value that is whole."""
        if tensor.name == self.output.name:
            return "y"
        return f"x{self.inputs.index(tensor)}" if len(self.inputs) > 1 else "x"

    def step(self, call: Call) -> Step | None:
        """The layer that a call is of; None where it fetches rows."""
        index = call.layer - (self.source is not None)
        return self.whole[index] if index >= 0 else None

    def tensor(self, name: str) -> Tensor:
        """A value that has a buffer."""
        known = [step.output for step in self.whole] + ([self.source] if self.source else [])
        return next(one for one in known if one.name == name)

    def part(self, call: Call) -> Step:
        """The step that a call is one of."""
        return self.parts[key(call)]

    def rounds(self) -> list[Round]:
        """All rounds, those that are alike and follow one another as one."""
        found: list[Round] = []
        for events in self.rolling.rounds:
            if found and (joined := self._joined(found[-1], events)) is not None:
                found[-1] = joined
            else:
                found.append(Round(1, events, {}))
        return found

    def _joined(self, before: Round, events: Sequence[Move | Call]) -> Round | None:
        """The rounds before with one more; None if it is not like them."""
        if len(events) != len(before.events):
            return None
        advance: dict[str, int] = {}
        for one, other in zip(before.events, events, strict=True):
            if isinstance(one, Move) or isinstance(other, Move):
                if one != other:
                    return None
                continue
            if key(one) != key(other) or (self.step(one) is None and one.target != other.target):
                return None
            for name, place, now in self._places(one, other):
                if name in self.buffers and place != now:
                    return None
                if name not in self.buffers:
                    advance.setdefault(name, (now - place) // before.times)
                    if place + advance[name] * before.times != now:
                        return None
        if before.times > 1 and advance != before.advance:
            return None
        return Round(before.times + 1, before.events, advance)

    def _places(self, one: Call, other: Call) -> Iterable[tuple[str, int, int]]:
        """The places of two calls of one function, by value."""
        step = self.step(one)
        if step is None:
            yield FETCHED, one.first, other.first
            return
        names = [tensor.name for tensor in step.computed]
        yield from zip(names, one.places, other.places, strict=True)
        yield step.output.name, one.target, other.target


def key(call: Call) -> Key:
    """Which function a call is of."""
    spans = tuple(Span(0, span.count, span.before, span.after) for span in call.reads)
    return call.layer, call.end - call.first, spans


Choose = Callable[[Step, Mapping[Key, Site]], Mapping[Key, Kernel]]
"""Chooses the kernels of a step's parts, each for some of its rows."""


def stream(steps: Sequence[Step], at_once: int, choose: Choose, source: Tensor | None = None) -> Stream | None:
    """The steps as one stage that makes `at_once` rows at a time; None where an operation cannot be done in rows.

    No value but the last may be read by others. source: what they read that is to be fetched row by row.
    """
    layers = [] if source is None else [Layer(source.name, ())]
    heights: dict[str, int] = {}
    for step in steps:
        found = reaches(step.site)
        if found is None:
            return None
        operands = tuple((step.site.inputs[position].name, reach) for position, reach in found.items())
        layers.append(Layer(step.output.name, operands))
        heights.update({tensor.name: height(tensor) for tensor in (*step.computed, step.output)})
    rolling = roll(layers, heights, at_once)
    offset = len(layers) - len(steps)
    events = [event for events in rolling.rounds for event in events if isinstance(event, Call)]
    calls = {key(event): event for event in events if event.layer >= offset}
    sites: dict[Key, Site] = {}
    for index, (one, call) in enumerate(calls.items()):
        step = steps[call.layer - offset]
        sites[one] = striped(step.site, call.first, call.end, f"{step.function}_rows_{index}")
    return _with_kernels(steps, source, rolling, sites, choose)


def again(one: Stream, choose: Choose) -> Stream:
    """The stream with other kernels."""
    sites = {index: part.site for index, part in one.parts.items()}
    return _with_kernels(one.whole, one.source, one.rolling, sites, choose)


def _with_kernels(
    steps: Sequence[Step], source: Tensor | None, rolling: Rolling, sites: Mapping[Key, Site], choose: Choose
) -> Stream:
    kernels: dict[Key, Kernel] = {}
    for index, step in enumerate(steps, 0 if source is None else 1):
        kernels.update(choose(step, {one: site for one, site in sites.items() if one[0] == index}))
    parts = {one: Step(site, kernels[one]) for one, site in sites.items()}
    buffers, end = {}, 0
    for tensor in [*([] if source is None else [source]), *(step.output for step in steps[:-1])]:
        buffers[tensor.name] = end
        end += -(-rolling.capacity[tensor.name] * row_bytes(tensor) // 4) * 4
    alignment = max(step.scratch_alignment for step in parts.values())
    workspace = -(-end // alignment) * alignment
    name = f"{steps[-1].function}_by_rows"
    return Stream(name, tuple(steps), source, rolling, parts, buffers, workspace)


def apart(one: Stream, used: Iterable[str]) -> Stream:
    """The stream, its functions called otherwise than any of `used`."""
    names = identifiers([*(step.function for step in one.steps), one.name], used)
    parts = {
        index: replace(step, site=replace(step.site, function=names[step.function]))
        for index, step in one.parts.items()
    }
    return replace(one, name=names[one.name], parts=parts)
