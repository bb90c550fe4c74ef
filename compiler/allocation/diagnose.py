"""Why no widths keep to the limits: which of them binds, and what would do."""

from __future__ import annotations

from dataclasses import replace

from bitsmith.allocation.budgets import CODE, FLASH, enough, shown
from bitsmith.allocation.problem import LOSS, Problem, Solution, within
from bitsmith.allocation.program import solve
from bitsmith.errors import BudgetError


def require_solution(problem: Problem) -> Solution:
    """The best widths; BudgetError that says which limits bind, and the least that they would have to be."""
    found = solve(problem)
    if found is None:
        raise _infeasible(problem)
    return found


def _infeasible(problem: Problem) -> BudgetError:
    found = {name: _least(problem, name, among=()) for name in problem.limits}
    least = {name: solution for name, solution in found.items() if solution is not None}
    if len(least) < len(found) or not least:
        return BudgetError(
            "the target vetoes every choice of bits for some layer",
            fix="Give --target a file whose `cycles` has more pairs of widths.",
        )
    alone = {name: one for name, one in least.items() if not within(one.costs[name], problem.limits[name])}
    if alone:
        return BudgetError(
            f"{' and '.join(_called(problem, name) for name in alone)} cannot be kept by any bits",
            fix=f"The least that would do: {', '.join(_told(name, one) for name, one in alone.items())}.",
        )
    beside = {name: _least(problem, name, among=[one for one in problem.limits if one != name]) for name in least}
    would_do = [_told(name, one) for name, one in beside.items() if one is not None]
    return BudgetError(
        " and ".join(_called(problem, name) for name in problem.limits) + " cannot be kept together by any bits",
        fix=f"With the others as they are, {' or '.join(would_do)} would do." if would_do else "Give larger ones.",
    )


def _least(problem: Problem, name: str, among: list[str] | tuple[()]) -> Solution | None:
    """With the smallest that a cost can be while some other limits are kept; None if these cannot be."""
    kept = {other: problem.limits[other] for other in among}
    return solve(replace(problem, limits=kept, minimise=name))


def _told(name: str, found: Solution) -> str:
    """A budget that a cost keeps, and of flash how much of it is code."""
    code = f", of which code takes {shown(CODE, found.costs[CODE])}" if name == FLASH and CODE in found.costs else ""
    return f"{name} {enough(name, found.costs[name])}{code}"


def _called(problem: Problem, name: str) -> str:
    what = "the predicted loss" if name == LOSS else f"the budget {name}"
    return f"{what} of {shown(name, problem.limits[name])}"
