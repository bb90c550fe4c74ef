"""Slower kernels in less memory, where the target's RAM asks for it: of those that fit, the fastest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bitsmith.backends.c.arena import Arena
from bitsmith.backends.c.stage import Stage, Step


def within(stages: Sequence[Stage], arena: Arena, ram: int) -> tuple[Stage, ...]:
    """The stages, with the fastest kernels that leave the arena at `ram` bytes; as few as can be had if none do.

    What a step needs in memory depends on its own kernel alone, so each step chooses for itself. What the plan then
    loses between buffers is taken off the limit, and the steps choose again.
    """
    limit, chosen = ram, tuple(stages)
    while True:
        chosen = tuple(_leaner(chosen, position, arena, limit) for position in range(len(chosen)))
        memory = arena.plan(chosen)
        excess = memory.total - ram
        if excess <= 0 or limit <= memory.bound - excess or not _can_change(chosen, arena, limit - excess):
            return chosen
        limit -= excess


def _leaner(stages: Sequence[Stage], position: int, arena: Arena, limit: int) -> Stage:
    """The stage with the first of its kernels that needs no more than the limit, or with the leanest."""
    stage = stages[position]
    if not isinstance(stage, Step) or _need(stages, position, stage, arena) <= limit:
        return stage
    slower = [replace(stage, kernel=kernel, others=stage.others[i + 1 :]) for i, kernel in enumerate(stage.others)]
    needs = [_need(stages, position, one, arena) for one in (stage, *slower)]
    fitting = next((index for index, need in enumerate(needs) if need <= limit), needs.index(min(needs)))
    return (stage, *slower)[fitting]


def _need(stages: Sequence[Stage], position: int, stage: Stage, arena: Arena) -> int:
    return arena.needs([*stages[:position], stage, *stages[position + 1 :]])[position]


def _can_change(stages: Sequence[Stage], arena: Arena, limit: int) -> bool:
    """Whether some step would take another kernel under this limit."""
    return any(_leaner(stages, position, arena, limit) is not stage for position, stage in enumerate(stages))
