"""Of several allocations, the one that comes nearest to the float network: compiled and measured, not predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bitsmith.allocation.problem import Solution, Tried
from bitsmith.errors import BitsmithError
from bitsmith.execution.drift import Drift, surely_less
from bitsmith.execution.network import layers_of, macs_of
from bitsmith.ir.allocation import Allocation
from bitsmith.ir.integer import IntegerGraph
from bitsmith.manager import Changes, Pipeline
from bitsmith.module import Module
from bitsmith.progress import silent

SAMPLES = 512
"""Calibration samples on which outputs are compared, at most."""

WORK = 100_000_000_000
"""Multiply-accumulates that running all trials on these samples may take: minutes of a core, with learned rounding."""


def affordable(module: Module, most: int) -> int:
    """How many trials `WORK` is enough for; 0 where no calibration data say anything of them."""
    if module.calibration is None or not module.ahead:
        return 0
    each = macs_of(layers_of(module.graph)) * min(len(module.calibration), SAMPLES)
    return min(most, WORK // max(each, 1))


def spaced(candidates: Sequence[Solution], count: int) -> list[Solution]:
    """So many of them, evenly spaced, the first and the last included."""
    if count < 2 or count >= len(candidates):
        return list(candidates[: max(count, 1)])
    return [candidates[round(place * (len(candidates) - 1) / (count - 1))] for place in range(count)]


def nearest(module: Module, candidates: Sequence[Solution], changes: Changes) -> Solution:
    """The candidate whose integers, made by the passes that follow, are the fewest nats from the float network.

    candidates: by floor, lowest first. The last, whose widths are the safest, is taken unless one is surely nearer. The
    first is where nothing can be compiled, or where what follows makes no integers.
    """
    drift = Drift(module.graph, module.require_calibration().take(SAMPLES))
    tried: list[tuple[list[float], Solution]] = []
    for done, one in enumerate(candidates):
        module.progress("try allocations", done, len(candidates))
        try:
            integer = _compiled(module, one.allocation)
        except BitsmithError as reason:
            changes.note(f"an allocation cannot be compiled: {reason}")
            continue
        if integer is None:
            return candidates[0]
        tried.append((drift.of(integer).tolist(), one))
    module.progress("try allocations", len(candidates), len(candidates))
    if not tried:
        return candidates[0]
    safest, _ = tried[-1]
    nearer = [found for found in tried if surely_less(found[0], safest)]
    _, best = min(nearer, key=lambda found: sum(found[0]), default=tried[-1])
    return replace(best, tried=tuple(Tried(_narrowest(one.allocation), one.loss, _mean(nats)) for nats, one in tried))


def _compiled(module: Module, allocation: Allocation) -> IntegerGraph | None:
    """What the passes that follow make of an allocation; None where the pipeline ends without integers."""
    trial = replace(module, graph=module.graph.copy(), allocation=allocation, progress=silent)
    Pipeline(module.ahead).run(trial)
    return trial.integer


def _mean(nats: Sequence[float]) -> float:
    return sum(nats) / len(nats)


def _narrowest(allocation: Allocation) -> float:
    return min([*allocation.weights.values(), *allocation.activations.values()])
