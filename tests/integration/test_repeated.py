"""The benchmark's test of two allocations: with one compile it is McNemar's, and it sees what several show."""

from typing import Any

import numpy as np
import pytest

from bitsmith.ir.allocation import Allocation
from bitsmith.search.compare import paired
from bitsmith.search.point import PROGRAM, UNIFORM, Candidate
from tests.benchmarks.repeated import Pair, exchanged, pairs

PAIR = Pair(
    Candidate("uniform-1.6", UNIFORM, Allocation({"w": 1.6}), 1.6), Candidate("mixed", PROGRAM, Allocation({"w": 2}))
)


Array = np.ndarray[Any, Any]


@pytest.mark.parametrize(("gained", "lost"), [(5, 1), (30, 12), (12, 30), (8, 8)])
def test_with_one_compile_it_is_mcnemars_test(gained: int, lost: int) -> None:
    uniform, mixed = np.ones(200), np.ones(200)
    uniform[:gained], mixed[gained : gained + lost] = 0, 0
    exact = paired((mixed > 0).tolist(), (uniform > 0).tolist()).p
    assert exchanged(uniform, mixed) == pytest.approx(exact, rel=0.1, abs=1e-4)


def test_equal_ones_are_equally_good() -> None:
    assert exchanged(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 1


def test_more_compiles_show_what_luck_hides() -> None:
    random = np.random.default_rng(0)
    outcomes = (random.random((2, 8, 600)) < np.array([0.80, 0.83])[:, None, None]).astype(np.float64)
    assert exchanged(*outcomes.mean(axis=1)) < 0.01 < exchanged(*outcomes[:, 0])


def test_pairs_are_those_that_differ() -> None:
    points = [{"name": one.name, "allocation": one.allocation.to_json()} for one in (PAIR.uniform, PAIR.nearest)]
    uniform = [
        {"name": "uniform-1.6", "nearest": {"name": "mixed"}},
        {"name": "uniform-8", "nearest": {"name": "uniform-8"}},
    ]
    assert pairs({"points": points, "uniform": uniform}) == [PAIR]
