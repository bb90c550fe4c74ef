"""An integer graph made ready to be written as C: kernels chosen, memory planned, sizes known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.arena import Arena
from bitsmith.backends.c.economy import leanest, within
from bitsmith.backends.c.kernels import Site, candidates
from bitsmith.backends.c.kernels.preferences import Preferences
from bitsmith.backends.c.layout import Tensor, last_first, lay_out
from bitsmith.backends.c.memory import MemoryPlan
from bitsmith.backends.c.movement import is_identity
from bitsmith.backends.c.names import identifiers
from bitsmith.backends.c.schedule import schedule
from bitsmith.backends.c.stage import Stage, Step
from bitsmith.errors import UnsupportedError
from bitsmith.figures import macs
from bitsmith.ir.bounds import Bounds, bounds
from bitsmith.ir.integer import IntegerGraph, Operation
from bitsmith.registry import suggest
from bitsmith.target import Target


@dataclass(frozen=True, eq=False)
class Program:
    """What is written as C.

    graph:   laid out for channels last. tensors: every value of it by name.
    stages:  in order; operations that cost nothing have none.
    functions: the C identifier of the operation that makes a value, by value.
    homes:   by value, the value in whose memory it lies: itself, or what it is a free reshape of.
    memory:  the arena, with an offset for every home and every stage's scratch.
    """

    graph: IntegerGraph
    target: Target
    tensors: Mapping[str, Tensor]
    stages: tuple[Stage, ...]
    functions: Mapping[str, str]
    homes: Mapping[str, str]
    memory: MemoryPlan

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every kernel's function."""
        return tuple(step for stage in self.stages for step in stage.steps)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of an inference."""
        return sum(stage.macs for stage in self.stages)

    @property
    def fetched(self) -> Tensor | None:
        """The input that the caller gives row by row; None where there is none."""
        return next((stage.fetched for stage in self.stages if stage.fetched is not None), None)

    @property
    def flash(self) -> int:
        """Bytes of all constants."""
        return sum(self.constants.values())

    @property
    def constants(self) -> Mapping[str, int]:
        """Bytes of constants by operation: functions for some rows each share theirs."""
        found: dict[str, dict[bytes, int]] = {}
        for step in self.steps:
            held = found.setdefault(step.site.operation.name, {})
            held.update({constant.key: constant.bytes for constant in step.kernel.constants})
        return {name: sum(held.values()) for name, held in found.items()}


KEPT = 2
"""Programs that are kept: a compile asks for that of its target, and for that of the host which runs it."""

_kept: list[tuple[IntegerGraph, Target, Program]] = []


def build(graph: IntegerGraph, target: Target) -> Program:
    """Lay out, choose kernels and plan memory for a graph.

    Kernels are the fastest, unless the target's RAM is less than they need. The last ones are kept: budgets, files,
    figures and trials of one artifact are all told from the same.
    """
    for asked, wanted, program in _kept:
        if asked is graph and wanted == target:
            return program
    program = _built(graph, target)
    _kept[:] = [*_kept[1 - KEPT :], (graph, target, program)]
    return program


def _built(graph: IntegerGraph, target: Target) -> Program:
    _refuse_unknown(graph, target)
    arena, steps, functions = prepare(graph, target)
    steps = _ordered(steps, _order(steps, arena))
    stages: tuple[Stage, ...] = steps
    memory = arena.plan(stages)
    if target.ram is not None and memory.total > target.ram:
        # Another order may suit kernels with less scratch; where it is the same, so is what is found.
        for order in dict.fromkeys((steps, _ordered(steps, _order(leanest(steps, arena), arena)))):
            found = within(order, arena, target.ram, list(functions.values()))
            planned = arena.plan(found)
            if planned.total < memory.total:
                stages, memory = found, planned
            if memory.total <= target.ram:
                break
    makers = {operation.output: functions[operation.name] for operation in arena.graph}
    return Program(arena.graph, target, arena.tensors, stages, makers, arena.homes, memory)


def prepare(graph: IntegerGraph, target: Target) -> tuple[Arena, tuple[Step, ...], Mapping[str, str]]:
    """Values and steps of a graph, in its order, and the C identifier of each operation."""
    laid, tensors = lay_out(graph)
    homes = _homes(laid, tensors)
    limits = bounds(laid)
    functions = identifiers(operation.name for operation in laid)
    sites = [
        _site(laid, operation, functions[operation.name], tensors, limits, target)
        for operation in laid
        if homes[operation.output] == operation.output
    ]
    return Arena(laid, tensors, homes), tuple(map(_step, sites)), functions


def _order(steps: tuple[Step, ...], arena: Arena) -> tuple[int, ...]:
    """Positions in the order whose plan is the smallest: that which needs least at its fullest step, or their own."""
    order = schedule(steps, arena).order
    is_smaller = arena.plan(_ordered(steps, order)).total < arena.plan(steps).total
    return order if is_smaller else tuple(range(len(steps)))


def _ordered(steps: tuple[Step, ...], order: tuple[int, ...]) -> tuple[Step, ...]:
    return tuple(steps[index] for index in order)


def _refuse_unknown(graph: IntegerGraph, target: Target) -> None:
    """Refuse a kernel that is asked for an operation which is not there."""
    names = [operation.name for operation in graph]
    for name, family in Preferences.of(target).by_operation:
        if name not in names:
            raise UnsupportedError(
                f"no operation {name} is there for the kernel {family}",
                where=f"target {target.name}",
                fix=suggest(name, names),
            )


def _step(site: Site) -> Step:
    fastest, *others = candidates(site)
    return Step(site, fastest, tuple(others))


def _homes(graph: IntegerGraph, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """In whose memory each value lies. An input and an output, or two outputs, never share theirs."""
    homes = {name: name for name in (*graph.inputs, *graph.constants)}
    spoken_for = set(graph.inputs)
    for operation in graph:
        name = operation.output
        homes[name] = name
        if is_identity(operation, tensors[operation.inputs[0]], tensors[name]):
            home = homes[operation.inputs[0]]
            if name not in graph.outputs or home not in spoken_for:
                homes[name] = home
        if name in graph.outputs:
            spoken_for.add(homes[name])
    return homes


def _site(
    graph: IntegerGraph,
    operation: Operation,
    function: str,
    tensors: Mapping[str, Tensor],
    limits: Bounds,
    target: Target,
) -> Site:
    rank = len(graph.result(operation).shape)
    constants = {
        position: last_first(_aligned(graph.constants[name], rank))
        for position, name in enumerate(operation.inputs)
        if name in graph.constants
    }
    return Site(
        operation,
        function,
        tuple(tensors[name] for name in operation.inputs),
        tensors[operation.output],
        tuple(limits.values[name] for name in operation.inputs),
        constants,
        limits.accumulators.get(operation.name, 0),
        macs(graph, operation),
        target,
    )


def _aligned(constant: npt.NDArray[np.integer], rank: int) -> npt.NDArray[np.integer]:
    """With leading axes of 1, as broadcasting has them."""
    return constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
