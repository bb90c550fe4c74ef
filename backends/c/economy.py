"""Less memory for more work, where the target's RAM asks for it: of all that fits, what costs least.

A step may have a slower kernel with less scratch, and a run of steps may be made one, row by row (stream.py), with such
kernels too. What a choice needs in memory depends on no other choice, for the values that live beside it are the same:
so the cheapest choices for all steps are a shortest path through the schedule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from bitsmith.backends.c.arena import Arena
from bitsmith.backends.c.layout import Tensor
from bitsmith.backends.c.parts import Parts, slowness
from bitsmith.backends.c.stage import Stage, Step
from bitsmith.backends.c.stream import Stream, again, apart, stream

AT_ONCE = (8, 4, 2)
"""Rows that a stream makes at a time, if not one: the more, the fewer calls and moves, and the larger its buffers."""

LONGEST = 24
"""Steps of a stream."""

CALL = 60
"""What calls cost more than none, as bytes that are copied: a rough figure, which only orders choices."""

RETRIES = 6
"""How often all choose again, for what a plan loses."""


@dataclass(frozen=True, eq=False)
class Choice:
    """The steps `first` to `end`, the latter not included, as one stage. need: bytes in use while it runs."""

    first: int
    end: int
    stage: Stage
    need: int
    cost: float


@dataclass(frozen=True, eq=False)
class _Path:
    """How the steps so far are done. excess: of its largest need, over what may be."""

    excess: int
    cost: float
    choices: tuple[Choice, ...]

    def then(self, choice: Choice, limit: int) -> _Path:
        excess = max(self.excess, choice.need - limit)
        return _Path(excess, self.cost + choice.cost, (*self.choices, choice))


@dataclass(frozen=True, eq=False)
class _Streams:
    """Streams of steps, each with its fastest kernels made once."""

    steps: Sequence[Step]
    arena: Arena
    parts: Parts = field(default_factory=Parts)
    made: dict[tuple[int, int, bool, int], Choice | None] = field(default_factory=dict)

    def choices(self, first: int, end: int, source: Tensor | None, ram: int, leaner: bool) -> Iterator[Choice]:
        """Of one row at a time, with kernels that fit where `leaner` ones may serve, and of the most rows that fit."""
        found = self._fastest(first, end, source, 1)
        if found is None:
            return
        yield found
        most = None
        if found.need > ram and leaner:
            # In whole words, as needs are counted.
            most = max(step.scratch for step in found.stage.steps) - (found.need - ram // 4 * 4)
            found = self._leaner(found, most)
            yield found
        # Of more rows at a time none needs less.
        for at_once in AT_ONCE if found.need <= ram else ():
            more = self._fastest(first, end, source, at_once)
            if more is not None and more.need > ram and most is not None:
                more = self._leaner(more, most)
            if more is not None and more.need <= ram:
                yield more
                return

    def _fastest(self, first: int, end: int, source: Tensor | None, at_once: int) -> Choice | None:
        key = first, end, source is not None, at_once
        if key not in self.made:
            made = stream(self.steps[first:end], at_once, self.parts.fastest, source)
            self.made[key] = None if made is None else self._choice(first, end, made)
        return self.made[key]

    def _choice(self, first: int, end: int, made: Stream) -> Choice:
        copied = 0 if made.source is None else made.source.bytes
        cost = float(made.moved + copied + CALL * made.calls)
        return Choice(first, end, made, _need(self.steps, self.arena, first, end, made), cost)

    def _leaner(self, choice: Choice, most: int) -> Choice:
        """The same with no more scratch than `most` bytes for kernels, or with the least that there is."""
        assert isinstance(choice.stage, Stream)
        made = again(choice.stage, self.parts.leaner(most))
        # In whole words, and of all that is in use only the scratch is another.
        less = -(-choice.stage.scratch // 4) * 4 - -(-made.scratch // 4) * 4
        cost = choice.cost + self.parts.slowness(made)
        return Choice(choice.first, choice.end, made, choice.need - less, cost)


def within(steps: Sequence[Step], arena: Arena, ram: int, used: Sequence[str]) -> tuple[Stage, ...]:
    """The stages that leave the arena at `ram` bytes at the least cost; those with the least need if none do.

    used: C identifiers that are taken. What a plan loses between buffers is taken off the limit, and all choose again.
    Streams get slower kernels only where the fastest do not do; at last each takes what needs least, at any cost, for
    a plan loses less between what is small.
    """
    best, least = tuple[Stage, ...](steps), arena.plan(steps).total
    streams = _Streams(steps, arena)
    for leaner in (False, True):
        limit = ram
        for _ in range(RETRIES):
            path = _cheapest(len(steps), list(_choices(steps, arena, limit, streams, leaner)), limit)
            stages = tuple(choice.stage for choice in path.choices)
            total = arena.plan(stages).total
            if total < least:
                best, least = stages, total
            if least <= ram or path.excess > 0:
                break
            limit -= total - ram
        if least <= ram:
            break
    if least > ram:
        needs = [replace(choice, cost=float(choice.need)) for choice in _choices(steps, arena, 0, streams, True)]
        stages = tuple(choice.stage for choice in _cheapest(len(steps), needs, 0).choices)
        best = min(best, stages, key=lambda one: arena.plan(one).total)
    return tuple(apart(stage, used) if isinstance(stage, Stream) else stage for stage in best)


def leanest(steps: Sequence[Step], arena: Arena) -> tuple[Step, ...]:
    """Each step with that of its kernels which needs the fewest bytes where it stands."""
    found = []
    for position, step in enumerate(steps):
        alone = [step, *(replace(step, kernel=kernel) for kernel in step.others)]
        found.append(min(alone, key=lambda one: _need(steps, arena, position, position + 1, one)))
    return tuple(found)


def _cheapest(count: int, choices: Sequence[Choice], limit: int) -> _Path:
    """The path of least cost within the limit; of least excess where none is."""
    best: dict[int, _Path] = {0: _Path(0, 0.0, ())}
    for choice in sorted(choices, key=lambda one: one.first):
        before = best[choice.first]
        path = before.then(choice, limit)
        known = best.get(choice.end)
        if known is None or (path.excess, path.cost) < (known.excess, known.cost):
            best[choice.end] = path
    return best[count]


def _choices(steps: Sequence[Step], arena: Arena, ram: int, streams: _Streams, leaner: bool) -> Iterator[Choice]:
    """Every step with each of its kernels, and every stream that takes in a step which needs too much as it is.

    leaner: streams that need too much too may have slower kernels.
    """
    needs = arena.needs(steps)
    crowded = [position for position, need in needs.items() if need > ram]
    for position, step in enumerate(steps):
        yield Choice(position, position + 1, step, needs[position], 0.0)
        for kernel in step.others if position in crowded else ():
            cost = step.macs * slowness((step.kernel, *step.others), kernel)
            slower = replace(step, kernel=kernel)
            yield Choice(position, position + 1, slower, _need(steps, arena, position, position + 1, slower), cost)
    for first in range(len(steps)):
        for end in _ends(steps, arena, first, crowded):
            yield from streams.choices(first, end, None, ram, leaner)
            if (source := _source(steps, arena, first, end)) is not None:
                yield from streams.choices(first, end, source, ram, leaner)


def _source(steps: Sequence[Step], arena: Arena, first: int, end: int) -> Tensor | None:
    """The model's input, if there is but one and these steps alone read it, so that they could fetch it row by row."""
    graph = arena.graph
    if first or len(graph.inputs) != 1 or graph.inputs[0] in map(arena.homes.get, graph.outputs):
        return None
    tensor = arena.tensors[graph.inputs[0]]
    aliases = {name for name, home in arena.homes.items() if home == tensor.name}
    whole = len(aliases) == 1 and len(tensor.logical) > 1
    return tensor if whole and arena.last_reads(steps)[tensor.name] < end else None


def _ends(steps: Sequence[Step], arena: Arena, first: int, crowded: Sequence[int]) -> Iterator[int]:
    """Where a stream that begins at a step may end: nothing in it is read outside, but its last value."""
    last = arena.last_reads(steps)
    inside: set[str] = set()
    for end in range(first + 1, min(len(steps), first + LONGEST) + 1):
        step = steps[end - 1]
        # A free reshape of a value has rows of its own.
        if any(arena.homes.get(one.name) in inside and one.name not in inside for one in step.inputs):
            return
        inside.add(step.output.name)
        kept_in = all(last[name] < end for name in inside - {step.output.name})
        if end > first + 1 and kept_in and any(first <= position < end for position in crowded):
            yield end


def _need(steps: Sequence[Step], arena: Arena, first: int, end: int, stage: Stage) -> int:
    return arena.needs([*steps[:first], stage, *steps[end:]])[first]
