"""Why no widths keep to the limits: which of them binds, and what would do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from bitsmith.allocation.budgets import CODE, FLASH, RESERVE, enough, shown
from bitsmith.allocation.floors import Solver
from bitsmith.allocation.problem import LOSS, Problem, Solution, within
from bitsmith.allocation.program import solve
from bitsmith.errors import BudgetError

ASKED = 4
"""Times that a solver is asked for something that takes less."""


def require_solution(problem: Problem, solver: Solver = solve) -> Solution:
    """The best widths; BudgetError that says which limits bind, and the least that they would have to be.

    solver: may know costs better than the problem says them, and give those. Where it finds no best, what takes the
            least of one budget is the answer if it keeps to all limits: so a budget that is told to do does.
    """
    found = solver(problem)
    if found is not None and not _over(found, problem):
        return found
    least = _found({name: _least(problem, name, (), solver) for name in problem.limits})
    alone = {name: one for name, one in least.items() if name in _over(one, problem)}
    if len(least) < len(problem.limits) or not least:
        raise BudgetError(
            "the target vetoes every choice of bits for some layer",
            fix="Give --target a file whose `cycles` has more pairs of widths.",
        )
    if alone:
        raise BudgetError(
            f"{' and '.join(_called(problem, name) for name in alone)} cannot be kept by any bits",
            fix=f"The least that would do: {', '.join(_told(name, one) for name, one in alone.items())}.",
        )
    beside = _found({name: _least(problem, name, [one for one in least if one != name], solver) for name in least})
    for one in (*least.values(), *beside.values()):
        if not _over(one, problem):
            return replace(one, limits=problem.limits)
    would_do = [_told(name, one) for name, one in beside.items() if _over(one, problem) == [name]]
    raise BudgetError(
        " and ".join(_called(problem, name) for name in problem.limits) + " cannot be kept together by any bits",
        fix=f"With the others as they are, {' or '.join(would_do)} would do." if would_do else "Give larger ones.",
    )


def _found(solutions: Mapping[str, Solution | None]) -> dict[str, Solution]:
    return {name: one for name, one in solutions.items() if one is not None}


def _over(found: Solution, problem: Problem) -> list[str]:
    """The limits that it exceeds."""
    return [name for name, limit in problem.limits.items() if not within(found.costs[name], limit)]


def _least(problem: Problem, name: str, among: Iterable[str], solver: Solver) -> Solution | None:
    """With the smallest that a cost can be while some other limits are kept; None if these cannot be.

    Where the solver knows the cost better than the problem, what takes the least by the problem's word may not by the
    solver's: it is asked whether there is less.
    """
    kept = {other: problem.limits[other] for other in among}
    found = solver(replace(problem, limits=kept, minimise=name))
    for _ in range(ASKED):
        if found is None:
            break
        asked = replace(problem, limits={**kept, name: found.costs[name] - 1})
        less = solver(asked)
        if less is None or _over(less, asked) or less.costs[name] >= found.costs[name]:
            break
        found = less
    return found


def _told(name: str, found: Solution) -> str:
    """A budget that a cost keeps once weights are learned, too, and of flash how much of it is code."""
    if name in RESERVE:
        kept = f"{100 * RESERVE[name]:g} % of it kept back for learned rounding"
        return f"{name} {enough(name, found.costs[name] / (1 - RESERVE[name]))}, {kept}"
    code = f", of which code takes {shown(CODE, found.costs[CODE])}" if name == FLASH and CODE in found.costs else ""
    return f"{name} {enough(name, found.costs[name])}{code}"


def _called(problem: Problem, name: str) -> str:
    what = "the predicted loss" if name == LOSS else f"the budget {name}"
    return f"{what} of {shown(name, problem.limits[name])}"
