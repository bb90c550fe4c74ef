"""Learned rounding: one problem, and solvers of it by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from bitsmith.passes.rounding.adaround import adaround
from bitsmith.passes.rounding.comq import comq, descend
from bitsmith.passes.rounding.gpfq import gpfq
from bitsmith.passes.rounding.gptq import gptq
from bitsmith.passes.rounding.nearest import nearest
from bitsmith.passes.rounding.problem import Reals, Rounding

Solver = Callable[[Rounding], Reals]

POLISH = 10
"""Sweeps of descent after GPTQ: each changes less than the one before."""


def polished(problem: Rounding) -> Reals:
    """GPTQ, then coordinate descent from its integers: never worse than GPTQ."""
    return descend(problem, gptq(problem), POLISH)


def thorough(problem: Rounding) -> Reals:
    """AdaRound polished by descent, or GPTQ polished: of each row, the one that loses less."""
    first, second = polished(problem), descend(problem, adaround(problem), POLISH)
    better = problem.loss(second) < problem.loss(first)
    return np.where(better[:, :, None], second, first)


SOLVERS: Mapping[str, Solver] = MappingProxyType(
    {
        "adaround": adaround,
        "comq": comq,
        "gpfq": gpfq,
        "gptq": gptq,
        "nearest": nearest,
        "polished": polished,
        "thorough": thorough,
    }
)
"""Each returns integers, as float64 (groups, rows, k), that the problem's levels allow."""
