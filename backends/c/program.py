"""An integer graph made ready to be written as C: kernels chosen, memory planned, sizes known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.arena import Arena
from bitsmith.backends.c.economy import within
from bitsmith.backends.c.kernels import Site, candidates
from bitsmith.backends.c.layout import Tensor, last_first, lay_out
from bitsmith.backends.c.memory import MemoryPlan
from bitsmith.backends.c.movement import is_identity
from bitsmith.backends.c.stage import Stage, Step
from bitsmith.figures import macs
from bitsmith.ir.bounds import Bounds, bounds
from bitsmith.ir.integer import IntegerGraph, Operation
from bitsmith.target import Target

HELPERS = re.compile(r"^\s*(?:static|KERNEL)\b[^;={}]*?\b(\w+)\(", re.MULTILINE)
"""A function that a template defines under a name of its own."""


@cache
def taken() -> frozenset[str]:
    """Names with an underscore that no generated function may have: those of the model's interface and of helpers."""
    folder = files("bitsmith.templates") / "c"
    found = {"model_run", "model_run_in", "model_trace", "size_t"}
    found.update(f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64))
    for place in (folder, *(folder / name for name in ("avx2", "dsp", "mve"))):
        for entry in place.iterdir():
            if entry.name.endswith(".c.j2"):
                found.update(HELPERS.findall(entry.read_text(encoding="utf-8")))
    return frozenset(found)


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
        """Every call of a kernel's function."""
        return tuple(stage for stage in self.stages if isinstance(stage, Step))

    @property
    def flash(self) -> int:
        """Bytes of all constants."""
        return sum(step.kernel.flash for step in self.steps)


def build(graph: IntegerGraph, target: Target) -> Program:
    """Lay out, choose kernels and plan memory for a graph.

    Kernels are the fastest, unless the target's RAM is less than they need.
    """
    laid, tensors = lay_out(graph)
    homes = _homes(laid, tensors)
    limits = bounds(laid)
    functions = identifiers(operation.name for operation in laid)
    sites = [
        _site(laid, operation, functions[operation.name], tensors, limits, target)
        for operation in laid
        if homes[operation.output] == operation.output
    ]
    arena = Arena(laid, tensors, homes)
    stages: tuple[Stage, ...] = tuple(_step(site) for site in sites)
    memory = arena.plan(stages)
    if target.ram is not None and memory.total > target.ram:
        stages = within(stages, arena, target.ram)
        memory = arena.plan(stages)
    makers = {operation.output: functions[operation.name] for operation in laid}
    return Program(laid, target, tensors, stages, makers, homes, memory)


def _step(site: Site) -> Step:
    fastest, *others = candidates(site)
    return Step(site, fastest, tuple(others))


def identifiers(names: Iterable[str], used: Iterable[str] = ()) -> dict[str, str]:
    """C identifiers of the given names, each its own and none of `used`.

    Each has an underscore, and not at its end: so none is a keyword, a parameter or a function that C compilers know.
    """
    chosen: dict[str, str] = {}
    reserved = {*taken(), *used}
    for name in names:
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()[:48].rstrip("_") or "operation"
        plain = f"op_{plain}" if plain[0].isdigit() or "_" not in plain else plain
        count, candidate = 1, plain
        while candidate in reserved or any(_is_part(candidate, one) or _is_part(one, candidate) for one in reserved):
            count += 1
            candidate = f"{plain}_{count}"
        chosen[name] = candidate
        reserved.add(candidate)
    return chosen


def _is_part(name: str, whole: str) -> bool:
    """Whether a name is what a part of a function might be called: `conv_1_pair` of `conv_1`."""
    return name.startswith(f"{whole}_") and name[len(whole) + 1 :].isalpha()


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
