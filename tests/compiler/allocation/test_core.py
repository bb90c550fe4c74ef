"""The core of a program against the whole of it: the same optimum, of far fewer columns, whatever it starts with."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from bitsmith.allocation import core
from bitsmith.allocation.core import Integers, minimise


def knapsacks(groups: int, seed: int) -> Integers:
    """One of four choices in each group, of least loss within two budgets: losses fall as costs rise."""
    random = np.random.default_rng(seed)
    loss = np.sort(random.random((groups, 4)))[:, ::-1].ravel()
    sizes = np.sort(random.random((2, groups, 4))).reshape(2, -1)
    one_each = np.kron(np.eye(groups), np.ones(4))
    ones = np.ones(groups)
    return Integers(
        loss,
        csr_array(np.vstack([one_each, sizes])),
        np.concatenate([ones, [-np.inf, -np.inf]]),
        np.concatenate([ones, 0.5 * groups * np.ones(2)]),
        np.ones(4 * groups, dtype=bool),
    )


def least(program: Integers) -> float:
    """The optimum, all columns at once."""
    rows = LinearConstraint(program.matrix, program.lowest, program.highest)
    gap = {"mip_rel_gap": 0.0}
    return float(milp(program.cost, integrality=program.binary, bounds=Bounds(0, 1), constraints=rows, options=gap).fun)


# From next to nothing, so that the first core is too small or has no solution, to everything.
@pytest.mark.parametrize("first", [0.0, 1e-3, 0.1, 1e9])
@pytest.mark.parametrize("seed", range(3))
def test_the_optimum_of_the_core_is_that_of_the_whole(first: float, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "FIRST", first)
    program = knapsacks(12, seed)
    found = minimise(program, 30)
    assert found is not None
    assert found.proven
    assert program.cost @ found.x == pytest.approx(least(program), rel=1e-6)
    assert (program.matrix @ found.x <= program.highest + 1e-6).all()


def test_most_columns_are_never_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    whole = core._solved

    def counted(program: Integers, kept: np.ndarray, seconds: float) -> object:
        looked_at.append(int(kept.sum()))
        return whole(program, kept, seconds)

    monkeypatch.setattr(core, "_solved", counted)
    assert minimise(knapsacks(200, 0), 30) is not None
    assert max(looked_at) < 0.5 * 800


def test_what_has_no_solution_has_none() -> None:
    program = knapsacks(4, 0)
    tight = program.highest.copy()
    tight[-1] = 0.0
    assert minimise(Integers(program.cost, program.matrix, program.lowest, tight, program.binary), 30) is None


def test_fractions_alone_may_keep_to_a_budget_that_no_choice_does() -> None:
    # One of 1 and 3 must be 2: halves would be.
    matrix = csr_array(np.array([[1.0, 1.0], [1.0, 3.0], [-1.0, -3.0]]))
    ends = np.array([1.0, 2.0, -2.0])
    program = Integers(np.array([1.0, 2.0]), matrix, np.array([1.0, -np.inf, -np.inf]), ends, np.ones(2, dtype=bool))
    assert minimise(program, 30) is None
