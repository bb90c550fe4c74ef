"""Rounding that is charged for signed powers of two, against all integers and against what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsmith.passes.rounding.levels import Levels, Listed
from bitsmith.passes.rounding.nearest import nearest
from bitsmith.passes.rounding.problem import Rounding
from bitsmith.passes.rounding.spare import digits, spare
from tests.passes.rounding.test_solvers import random_problem, symmetric

prices = st.floats(0.0, 100.0)


def charged(problem: Rounding, integers: np.ndarray, price: float) -> np.ndarray:
    return problem.loss(integers) + price * digits(integers).sum(axis=2)


def test_digits_by_hand() -> None:
    """7 = 8 - 1, 11 = 8 + 4 - 1, 5 = 4 + 1."""
    assert digits(np.array([0.0, 1, -4, 7, 11, -5])).tolist() == [0, 1, 1, 2, 3, 2]


@settings(max_examples=200)
@given(ideal=st.floats(-150, 150), price=prices, bits=st.integers(2, 8))
def test_one_weight_becomes_the_best_of_all_integers(ideal: float, price: float, bits: int) -> None:
    levels = symmetric(bits)
    problem = Rounding(np.array([[[ideal]]]), np.ones((1, 1, 1)), np.ones((1, 1)), levels)
    found = spare(problem, nearest(problem), price, bits)
    every = np.arange(-float(levels.highest), float(levels.highest) + 1)
    best = ((ideal - every) ** 2 + price * digits(every)).min()
    assert charged(problem, found, price)[0, 0] == pytest.approx(best, abs=1e-9)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), price=prices, listed=st.booleans())
def test_what_is_charged_never_grows_and_levels_are_kept(seed: int, price: float, listed: bool) -> None:
    levels: Levels | None = Listed(np.array([-8.0, -4.0, -1.0, 0.0, 1.0, 4.0, 8.0])) if listed else None
    problem = random_problem(seed, k=6, bits=5, levels=levels)
    start = nearest(problem)
    found = spare(problem, start, price, 5)
    assert (charged(problem, found, price) <= charged(problem, start, price) * (1 + 1e-9) + 1e-9).all()
    np.testing.assert_array_equal(problem.levels.nearest(found), found)


def test_weights_are_pruned_where_digits_are_dear() -> None:
    problem = random_problem(3, k=6, bits=6)
    counts = [digits(spare(problem, nearest(problem), price, 6)).sum() for price in (0.0, 0.01, 0.1, 1.0, 1e6)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[2] > counts[-1] == 0
