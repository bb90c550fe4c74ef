"""A mixed integer program solved on the few columns that can be in its optimum: reduced costs prove that no others are.

The linear relaxation has a value and, for each column, a reduced cost: by how much at least the value grows if that
column, now 0, is 1. So once a solution is known, columns that would raise the relaxation's value above it may be left
out, and what is best of the rest is best of all (Dantzig, Fulkerson and Johnson 1954, doi:10.1287/opre.2.4.393, which
is how 49 cities were done by hand). The first solution is that of a core: columns that cost next to nothing.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bitsmith.allocation.silence import silent_stdout
from bitsmith.errors import InternalError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

GAP = 1e-6
"""Relative, between the best solution and what could at most be better, at which it counts as optimal."""

FIRST = 1e-3
"""Of the relaxation's value, by which a column may raise it to be in the first core."""

WIDER = 32.0
"""By which more they may, where the core has no solution."""

TOLERANCE = 1e-4
"""Of values and reduced costs, absolute: more than HiGHS' own, so that no column is left out that may be needed."""

OPTIMAL, TIME, INFEASIBLE = 0, 1, 2
"""How scipy says that HiGHS ended."""

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Integers:
    """Minimise `cost @ x` such that `lowest <= matrix @ x <= highest`.

    binary: which x are 0 or 1; rows keep these to 1 at most, even where they may be fractions. The others are any.
    Rows are equalities, or have no lower end.
    """

    cost: Reals
    matrix: csr_array[Any, Any]
    lowest: Reals
    highest: Reals
    binary: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Answer:
    """x: of all columns. proven: whether it is optimal to within the gap."""

    x: Reals
    proven: bool
    gap: float


def minimise(program: Integers, seconds: float) -> Answer | None:
    """The best x, or the best that was found in so many seconds; None where there is none."""
    deadline = time.monotonic() + seconds
    relaxed = _relaxation(program)
    if relaxed is None:
        return None
    value, reduced = relaxed
    allowance = FIRST * abs(value) + TOLERANCE
    while True:
        kept = ~program.binary | (reduced <= allowance + TOLERANCE)
        result = _solved(program, kept, max(deadline - time.monotonic(), 1.0))
        if result.x is not None:
            x = np.zeros(len(program.cost))
            x[kept] = result.x
            above = float(result.fun) - value
            # A column left out would raise the value to more than this.
            if result.status != OPTIMAL or above <= allowance or kept.all():
                return Answer(x, result.status == OPTIMAL, float(result.mip_gap or 0.0))
            allowance = above
        elif result.status != INFEASIBLE:
            raise InternalError(f"HiGHS found no allocation: {result.message}")
        elif kept.all():
            return None
        else:
            allowance *= WIDER


def _relaxation(program: Integers) -> tuple[float, Reals] | None:
    """The value of the linear relaxation and the reduced cost of each column; None where it is infeasible."""
    # scipy takes a second to import, and this module is imported to list passes.
    from scipy.optimize import linprog

    equal = program.lowest == program.highest
    with silent_stdout():
        result = linprog(
            program.cost,
            A_ub=program.matrix[~equal],
            b_ub=program.highest[~equal],
            A_eq=program.matrix[equal],
            b_eq=program.highest[equal],
            bounds=[(0 if is_binary else None, None) for is_binary in program.binary],
            method="highs",
        )
    if result.status == INFEASIBLE:
        return None
    if result.status != OPTIMAL:
        # Without it nothing is known of any column, so all are kept.
        return -math.inf, np.full(len(program.cost), -math.inf)
    return float(result.fun or 0.0), np.asarray(result.lower.marginals)


def _solved(program: Integers, kept: npt.NDArray[np.bool_], seconds: float) -> Any:
    """What HiGHS makes of some columns, the others being 0."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    binary = program.binary[kept]
    with silent_stdout():
        return milp(
            program.cost[kept],
            integrality=binary.astype(np.int64),
            bounds=Bounds(np.where(binary, 0.0, -np.inf), np.where(binary, 1.0, np.inf)),
            constraints=LinearConstraint(program.matrix[:, kept], program.lowest, program.highest),
            options={"time_limit": seconds, "mip_rel_gap": GAP},
        )
