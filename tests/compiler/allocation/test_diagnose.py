"""Budgets that cannot be kept: which binds, and what would do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bitsmith.allocation.diagnose import require_solution
from bitsmith.allocation.problem import LOSS, Cost, Group, Problem, Row, Solution
from bitsmith.allocation.program import solve
from bitsmith.errors import BudgetError

W, A = Group("w", ("w",), True, (2, 4)), Group("a", ("a",), False, (2, 4))
PROBLEM = Problem(
    (W, A),
    {
        "flash": Cost((Row(10, {"w": {2: 20, 4: 40}}),)),
        # Few bits of the weight cost memory here, so that the two budgets pull in opposite directions.
        "ram": Cost((Row(0, {"a": {2: 2, 4: 4}, "w": {2: 8, 4: 1}}),)),
        LOSS: Cost((Row(0, {"w": {2: 1.0, 4: 0.1}, "a": {2: 1.0, 4: 0.1}}),)),
    },
    {},
)


def complaint(**limits: float) -> str:
    with pytest.raises(BudgetError) as told:
        require_solution(replace(PROBLEM, limits=limits))
    return str(told.value)


def test_what_can_be_kept_is_solved() -> None:
    assert require_solution(replace(PROBLEM, limits={"flash": 30})).bits == {"w": 2, "a": 4}
    assert require_solution(replace(PROBLEM, limits={"flash": 50, "ram": 3})).bits == {"w": 4, "a": 2}


def test_a_budget_too_small_for_any_bits_is_named() -> None:
    assert complaint(flash=29, ram=100) == (
        "the budget flash of 29 bytes cannot be kept by any bits. The least that would do: flash 30 bytes."
    )


def test_of_flash_it_is_told_what_code_takes() -> None:
    users = frozenset([("w", 2), ("a", 4)])
    flash, code = Row(14, {"w": {2: 20, 4: 40}}, once={users: 3}), Row(4, once={users: 3})
    known = replace(PROBLEM, costs={**PROBLEM.costs, "flash": Cost((flash,)), "code": Cost((code,))})
    with pytest.raises(BudgetError) as told:
        require_solution(replace(known, limits={"flash": 29}))
    assert str(told.value) == (
        "the budget flash of 29 bytes cannot be kept by any bits. "
        "The least that would do: flash 37 bytes, of which code takes 7 bytes."
    )


def test_of_look_up_tables_it_is_told_what_learned_rounding_may_take_as_well() -> None:
    known = replace(PROBLEM, costs={**PROBLEM.costs, "luts": Cost((Row(700, {"w": {2: 200, 4: 400}}),))})
    with pytest.raises(BudgetError) as told:
        require_solution(replace(known, limits={"luts": 899}))
    assert str(told.value) == (
        "the budget luts of 899 LUTs cannot be kept by any bits. "
        "The least that would do: luts 1,000 LUTs, 10 % of it kept back for learned rounding."
    )
    assert require_solution(replace(known, limits={"luts": 900})).bits["w"] == 2


def test_two_budgets_too_small_are_both_named() -> None:
    assert complaint(flash=29, ram=2) == (
        "the budget flash of 29 bytes and the budget ram of 2 bytes cannot be kept by any bits. "
        "The least that would do: flash 30 bytes, ram 3 bytes."
    )


def test_budgets_that_fight_say_what_each_would_have_to_be() -> None:
    assert complaint(flash=30, ram=5) == (
        "the budget flash of 30 bytes and the budget ram of 5 bytes cannot be kept together by any bits. "
        "With the others as they are, flash 50 bytes or ram 10 bytes would do."
    )


def test_vetoes_of_everything_are_told() -> None:
    every = frozenset((b, c) for b in W.widths for c in A.widths)
    with pytest.raises(BudgetError, match="the target vetoes every choice of bits"):
        require_solution(replace(PROBLEM, limits={"flash": 100}, vetoes={("w", "a"): every}))


def knowing(more: float) -> Callable[[Problem], Solution | None]:
    """A solver that knows that flash is so many bytes more than the problem says."""

    def solver(problem: Problem) -> Solution | None:
        found = solve(problem)
        return None if found is None else replace(found, costs={**found.costs, "flash": found.costs["flash"] + more})

    return solver


def test_what_is_told_to_do_is_what_the_solver_knows_and_does() -> None:
    with pytest.raises(BudgetError) as told:
        require_solution(replace(PROBLEM, limits={"flash": 34}), knowing(5))
    assert str(told.value) == (
        "the budget flash of 34 bytes cannot be kept by any bits. The least that would do: flash 35 bytes."
    )
    assert require_solution(replace(PROBLEM, limits={"flash": 35}), knowing(5)).costs["flash"] == 35
    # The best by what is predicted is over, and the least is not.
    found = require_solution(replace(PROBLEM, limits={"flash": 52}), knowing(5))
    assert (found.bits["w"], found.costs["flash"], found.minimise) == (2, 35, "flash")
    assert found.limits == {"flash": 52}


def test_of_budgets_that_fight_the_least_beside_the_others_may_be_the_answer() -> None:
    limits = {"flash": 50.0, "ram": 10.0}
    assert require_solution(replace(PROBLEM, limits=limits), knowing(1)).bits == {"w": 2, "a": 2}
    with pytest.raises(BudgetError, match=r"With the others as they are, flash 51 bytes would do\."):
        require_solution(replace(PROBLEM, limits={"flash": 50, "ram": 5}), knowing(1))
