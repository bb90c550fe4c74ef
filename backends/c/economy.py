"""Less memory for more work, where the target's RAM asks for it: of all that fits, what costs least.

A step may have a slower kernel with less scratch, and a run of steps may be made one, row by row (stream.py). What a
choice needs in memory depends on no other choice, for the values that live beside it are the same: so the cheapest
choices for all steps are a shortest path through the schedule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bitsmith.backends.c.arena import Arena
from bitsmith.backends.c.kernels import Kernel, Site, candidates
from bitsmith.backends.c.layout import Tensor
from bitsmith.backends.c.rows import Span
from bitsmith.backends.c.stage import Stage, Step
from bitsmith.backends.c.stream import Fastest, Key, Stream, apart, stream

AT_ONCE = (8, 4, 2)
"""Rows that a stream makes at a time, if not one: the more, the fewer calls and moves, and the larger its buffers."""

LONGEST = 24
"""Steps of a stream."""

CALL = 60
"""What calls cost more than none, as bytes that are copied: a rough figure, which only orders choices."""

SLOWER, OTHER_FAMILY = 1 / 32, 2.0
"""What a kernel costs more than the next faster one, in multiply-accumulates: of its own family, and of another."""


RETRIES = 6
"""How often all choose again, for what a plan loses."""

Known = dict[tuple[str, tuple[int, tuple[Span, ...]]], Kernel]
"""The fastest kernels for some rows of steps."""


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


def within(steps: Sequence[Step], arena: Arena, ram: int, used: Sequence[str]) -> tuple[Stage, ...]:
    """The stages that leave the arena at `ram` bytes at the least cost; those with the least need if none do.

    used: C identifiers that are taken. What a plan loses between buffers is taken off the limit, and all choose again.
    """
    limit, best, least = ram, tuple[Stage, ...](steps), arena.plan(steps).total
    known: Known = {}
    for _ in range(RETRIES):
        path = _cheapest(len(steps), list(_choices(steps, arena, limit, known)), limit)
        stages = tuple(choice.stage for choice in path.choices)
        total = arena.plan(stages).total
        if total < least:
            best, least = stages, total
        if least <= ram or path.excess > 0:
            break
        limit -= total - ram
    return tuple(apart(stage, used) if isinstance(stage, Stream) else stage for stage in best)


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


def _choices(steps: Sequence[Step], arena: Arena, ram: int, known: Known) -> Iterator[Choice]:
    """Every step with each of its kernels, and every stream that takes in a step which needs too much as it is."""
    needs = arena.needs(steps)
    crowded = [position for position, need in needs.items() if need > ram]
    for position, step in enumerate(steps):
        yield Choice(position, position + 1, step, needs[position], 0.0)
        cost, family = 0.0, step.kernel.family
        for kernel in step.others if position in crowded else ():
            cost += step.macs * (SLOWER if kernel.family == family else OTHER_FAMILY)
            family = kernel.family
            slower = replace(step, kernel=kernel)
            yield Choice(position, position + 1, slower, _need(steps, arena, position, position + 1, slower), cost)

    def fastest(step: Step, rows: Key, site: Site) -> Kernel:
        like = step.function, rows[1:]
        if like not in known:
            known[like] = next(iter(candidates(site)))
        return known[like]

    for first in range(len(steps)):
        for end in _ends(steps, arena, first, crowded):
            yield from _streams(steps, arena, first, end, ram, fastest, None)
            if (source := _source(steps, arena, first, end)) is not None:
                yield from _streams(steps, arena, first, end, ram, fastest, source)


def _source(steps: Sequence[Step], arena: Arena, first: int, end: int) -> Tensor | None:
    """The model's input, if there is but one and these steps alone read it, so that they could fetch it row by row."""
    graph = arena.graph
    if first or len(graph.inputs) != 1 or graph.inputs[0] in map(arena.homes.get, graph.outputs):
        return None
    tensor = arena.tensors[graph.inputs[0]]
    aliases = {name for name, home in arena.homes.items() if home == tensor.name}
    whole = len(aliases) == 1 and len(tensor.logical) > 1
    return tensor if whole and arena.last_reads(steps)[tensor.name] < end else None


def _streams(
    steps: Sequence[Step], arena: Arena, first: int, end: int, ram: int, fastest: Fastest, source: Tensor | None
) -> Iterator[Choice]:
    """Streams of these steps: of one row at a time and, if that fits, of the most rows that do."""
    copied = 0 if source is None else source.bytes
    for at_once in (1, *AT_ONCE):
        made = stream(steps[first:end], at_once, fastest, source)
        if made is None:
            return
        need = _need(steps, arena, first, end, made)
        if need <= ram or at_once == 1:
            yield Choice(first, end, made, need, made.moved + copied + CALL * made.calls)
        # Of more rows at a time none needs less.
        if (need > ram) == (at_once == 1):
            return


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
