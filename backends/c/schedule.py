"""In which order independent steps run: the one whose fullest step needs the fewest bytes.

A step may run once all that it reads is made. What it needs then depends on which steps have run before, not on their
order: so the best order is a path through sets of steps whose largest need is least, found by Dijkstra's algorithm with
that maximum in place of the sum (as Liberis and Lane 2019, arXiv:1910.05110, find it by dynamic programming, and Ahn et
al. 2020, Serenity, arXiv:2003.02369). Sets are reached in the order of their needs, so that where there are too many to
go through, the need of the last is a lower bound, and a beam through the most promising ones has to do.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bitsmith.backends.c.arena import Arena
from bitsmith.backends.c.buffer import whole_words
from bitsmith.backends.c.memory import shared
from bitsmith.backends.c.stage import Stage

SETS = 4_096
"""Sets of steps that are looked at before a beam takes over."""

BEAM = 64


@dataclass(frozen=True, eq=False)
class Schedule:
    """order: positions of the given stages. need: bytes at the fullest one. bound: no order needs fewer."""

    order: tuple[int, ...]
    need: int
    bound: int

    @property
    def is_least(self) -> bool:
        """Whether it is proved that no order needs fewer bytes at its fullest step."""
        return self.need == self.bound


def schedule(stages: Sequence[Stage], arena: Arena, most: int = SETS) -> Schedule:
    """The best order of stages, which are given in an order that may be executed; that order where none is better.

    most: sets that are looked at.
    """
    sets = _Sets(stages, arena)
    given = _State(0, 0, ())
    for index in range(len(stages)):
        given = sets.then(given, index)
    whole = (1 << len(stages)) - 1
    queue: list[tuple[int, int, tuple[int, ...]]] = [(0, 0, ())]
    reached, settled = {0: 0}, set[int]()
    bound = 0
    while queue and len(settled) < most:
        bound, done, order = heapq.heappop(queue)
        if bound >= given.need:
            return Schedule(given.order, given.need, given.need)
        if done == whole:
            return Schedule(order, bound, bound)
        if done in settled:
            continue
        settled.add(done)
        for index in sets.ready(done):
            state = sets.then(_State(bound, done, order), index)
            if state.need < reached.get(state.done, given.need):
                reached[state.done] = state.need
                heapq.heappush(queue, (state.need, state.done, state.order))
    if not queue:
        return Schedule(given.order, given.need, given.need)
    best = min((given, _beam(sets, len(stages))), key=lambda one: one.need)
    return Schedule(best.order, best.need, bound)


@dataclass(frozen=True)
class _State:
    """need: at the fullest step so far. done: a bit for each step that has run. order: of these."""

    need: int
    done: int
    order: tuple[int, ...]


class _Sets:
    """What runs after which, and what a step needs where others have run."""

    def __init__(self, stages: Sequence[Stage], arena: Arena) -> None:
        self.stages, self.arena = stages, arena
        self.made = {stage.output.name: index for index, stage in enumerate(stages)}
        self.sizes = {name: -(-arena.tensors[name].bytes // 4) * 4 for name in (*arena.graph.inputs, *self.made)}
        self.read = [
            {arena.homes[one.name] for one in stage.inputs if one.name not in arena.graph.constants} for stage in stages
        ]
        self.before = [sum(1 << self.made[name] for name in read if name in self.made) for read in self.read]
        self.readers = {
            name: sum(1 << index for index, read in enumerate(self.read) if name in read) for name in self.sizes
        }
        self.gaps = [{name: whole_words(gap) for name, gap in arena.gaps(stage).items()} for stage in stages]

    @cached_property
    def kept(self) -> set[str]:
        """What is needed to the end."""
        return {self.arena.homes[name] for name in self.arena.graph.outputs}

    def ready(self, done: int) -> list[int]:
        """Steps that have not run, of which all that they read is made."""
        waiting = (index for index in range(len(self.stages)) if not done >> index & 1)
        return [index for index in waiting if self.before[index] & ~done == 0]

    def then(self, state: _State, index: int) -> _State:
        """The state after one more step."""
        return _State(max(state.need, self.need(state.done, index)), state.done | 1 << index, (*state.order, index))

    def need(self, done: int, index: int) -> int:
        """Bytes in use while a step runs where others have: what `Arena.needs` says of any such order."""
        stage = self.stages[index]
        name = stage.output.name
        alive = [one for one in self.sizes if one != name and self._is_alive(one, done)]
        dying = [
            one for one in self.gaps[index] if one not in self.kept and not self.readers[one] & ~done & ~(1 << index)
        ]
        total = sum(self.sizes[one] for one in alive) + self.sizes[name] + -(-stage.scratch // 4) * 4
        return total - shared(self.sizes[name], [(self.sizes[one], self.gaps[index][one]) for one in dying])

    def _is_alive(self, name: str, done: int) -> bool:
        made = self.made.get(name)
        is_there = made is None or done >> made & 1
        # An input is there from the start, if only to the first step.
        return bool(is_there and (name in self.kept or self.readers[name] & ~done or (made is None and not done)))


def _beam(sets: _Sets, count: int) -> _State:
    """A good order, through the states that need least, level by level."""
    states = [_State(0, 0, ())]
    for _ in range(count):
        after: dict[int, _State] = {}
        for state in states:
            for index in sets.ready(state.done):
                found = sets.then(state, index)
                if found.done not in after or found.need < after[found.done].need:
                    after[found.done] = found
        states = sorted(after.values(), key=lambda one: (one.need, one.order))[:BEAM]
    return states[0]
