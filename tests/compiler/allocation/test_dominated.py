"""Widths for which a wider one costs no more are left out, and the optimum stays where it was."""

import itertools
import math

import numpy as np
import pytest

from bitsmith.allocation.dominated import without_dominated
from bitsmith.allocation.problem import LOSS, Cost, Group, Problem, Row

WIDTHS = (1.6, 2, 3, 4, 8)
STORED = {1.6: 10, 2: 12, 3: 20, 4: 20, 8: 40}


def problem(rows: tuple[Row, ...]) -> Problem:
    groups = tuple(Group(name, (name,), True, WIDTHS) for name in ("u", "v", "x"))
    losses = {name: {bits: 4.0 ** (place - bits) for bits in WIDTHS} for place, name in enumerate(("u", "v", "x"))}
    return Problem(groups, {"flash": Cost(rows), LOSS: Cost((Row(0, losses),))}, {})


def widths(asked: Problem) -> list[tuple[float, ...]]:
    return [group.widths for group in asked.groups]


def test_what_is_stored_alike_keeps_its_widest() -> None:
    asked = problem((Row(0, {"u": STORED, "v": dict.fromkeys(WIDTHS, 7)}),))
    # x costs nothing at all.
    assert widths(without_dominated(asked, "flash")) == [(1.6, 2, 4, 8), (8,), (8,)]


def test_a_width_stays_if_it_is_cheaper_in_any_row() -> None:
    other = {1.6: 1, 2: 1, 3: 1, 4: 2, 8: 2}
    asked = problem((Row(0, {"u": STORED}, where="a"), Row(0, {"u": other}, where="b")))
    assert widths(without_dominated(asked, "flash"))[0] == (1.6, 2, 3, 4, 8)


def test_where_pairs_count_all_widths_stay() -> None:
    pairs = {("u", "v"): {(one, other): one * other for one in WIDTHS for other in WIDTHS}}
    asked = problem((Row(0, {"u": STORED}, pairs),))
    assert widths(without_dominated(asked, "flash")) == [WIDTHS, WIDTHS, (8,)]


def test_a_width_stays_if_wider_ones_ask_for_what_it_does_not() -> None:
    shared = frozenset([("u", 4), ("v", 4)])
    asked = problem((Row(0, {"u": STORED, "v": dict.fromkeys(WIDTHS, 7)}, once={shared: 5}),))
    # 3 bits of u are stored as 4 are, but do not ask for what 4 bits of u or v ask for.
    assert widths(without_dominated(asked, "flash")) == [(1.6, 2, 3, 4, 8), (8,), (8,)]
    both = frozenset([("u", 3), *shared])
    asked = problem((Row(0, {"u": STORED}, once={both: 5}),))
    assert widths(without_dominated(asked, "flash"))[0] == (1.6, 2, 4, 8)


@pytest.mark.parametrize(("asked_for", "kept"), [(8, (1.6, 2, 4, 8)), (9, (1.6, 2, 3, 4, 8))])
def test_what_is_asked_for_beyond_counts_as_if_no_other_asked_for_it(asked_for: float, kept: tuple[float, ...]) -> None:
    """4 bits of u take 8 bytes less than 3 do, and ask for as many, or one more, that 4 bits of v ask for too."""
    stored, once = {**STORED, 3: 28}, {frozenset([("u", 4), ("v", 4)]): asked_for}
    asked = problem((Row(0, {"u": stored, "v": dict(zip(WIDTHS, range(5), strict=True))}, once=once),))
    assert widths(without_dominated(asked, "flash"))[0] == kept
    # In each row by itself: what one spares does not pay for another.
    rows = (Row(0, {"u": stored}, where="a"), Row(0, once={frozenset([("u", 4)]): 1}, where="b"))
    assert widths(without_dominated(problem(rows), "flash"))[0] == (1.6, 2, 3, 4, 8)


@pytest.mark.parametrize("budget", [20, 30, 45, 60])
def test_no_better_allocation_is_lost(budget: float) -> None:
    random = np.random.default_rng(0)
    singles = {name: dict(zip(WIDTHS, random.integers(1, 40, 5).tolist(), strict=True)) for name in ("u", "v", "x")}
    shared = [
        frozenset((name, bits) for name in singles for bits in some) for some in ((1.6,), (2, 3), (3, 4, 8), (8,))
    ]
    asked = problem((Row(0, singles, once=dict(zip(shared, (5, 9, 4, 3), strict=True))),))
    assert sum(map(len, widths(without_dominated(asked, "flash")))) < 15

    def best(one: Problem) -> float:
        losses = [
            one.costs[LOSS].at(bits)
            for chosen in itertools.product(*widths(one))
            if one.costs["flash"].at(bits := dict(zip(("u", "v", "x"), chosen, strict=True))) <= budget
        ]
        return min(losses, default=math.inf)

    assert best(without_dominated(asked, "flash")) == best(asked)
