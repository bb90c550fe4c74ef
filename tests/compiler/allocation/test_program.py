"""The program's optimum against every choice there is."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.allocation.problem import LOSS, Cost, Group, Problem, Row
from bitsmith.allocation.program import solve

WIDTHS = (2, 3, 4, 8)


def by_hand(problem: Problem) -> float | None:
    """The least of what is minimised, over all choices that keep to limits and vetoes."""
    names = [group.name for group in problem.groups]
    every = [dict(zip(names, one, strict=True)) for one in itertools.product(*(g.widths for g in problem.groups))]
    allowed = [problem.costs[problem.minimise].at(bits) for bits in every if problem.allows(bits)]
    return min(allowed, default=None)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    count = draw(st.integers(1, 5))
    widths = st.lists(st.sampled_from(WIDTHS), min_size=1, max_size=3, unique=True).map(lambda w: tuple(sorted(w)))
    groups = tuple(Group(f"g{i}", (f"g{i}",), i % 2 == 0, draw(widths)) for i in range(count))
    of = {group.name: group.widths for group in groups}
    amounts = st.integers(0, 1000)

    def single(name: str) -> dict[int, float]:
        return {bits: draw(amounts) for bits in of[name]}

    def row(where: str) -> Row:
        chosen = draw(st.sets(st.sampled_from(sorted(of)), min_size=1))
        pairs = draw(st.sets(st.tuples(*[st.sampled_from(sorted(of))] * 2), max_size=3))
        choices = sorted((name, bits) for name in of for bits in (*of[name], 16))
        shared = draw(st.sets(st.frozensets(st.sampled_from(choices), min_size=1, max_size=4), max_size=3))
        return Row(
            draw(amounts),
            {name: single(name) for name in sorted(chosen)},
            {(g, h): {(b, c): draw(amounts) for b in of[g] for c in of[h]} for g, h in sorted(pairs)},
            where,
            {users: draw(amounts) for users in sorted(shared, key=sorted)},
        )

    costs = {
        "flash": Cost((row(""),)),
        "ram": Cost(tuple(row(f"step {i}") for i in range(draw(st.integers(1, 3))))),
        LOSS: Cost((row(""),)),
    }
    limited = draw(st.sets(st.sampled_from(sorted(costs)), max_size=3))
    limits = {name: float(draw(st.integers(1, 4000))) for name in sorted(limited)}
    vetoes = {}
    for g, h in draw(st.sets(st.tuples(*[st.sampled_from(sorted(of))] * 2), max_size=2)):
        if g != h:
            pairs = [(b, c) for b in of[g] for c in of[h]]
            vetoes[g, h] = frozenset(draw(st.sets(st.sampled_from(pairs))))
    return Problem(groups, costs, limits, draw(st.sampled_from(sorted(costs))), vetoes)


@given(problems())
def test_the_optimum_is_that_of_all_choices(problem: Problem) -> None:
    wanted, found = by_hand(problem), solve(problem)
    if wanted is None:
        assert found is None
        return
    assert found is not None
    assert problem.allows(found.bits)
    assert found.status == "optimal"
    assert found.costs == problem.costs_at(found.bits)
    assert found.costs[problem.minimise] == pytest.approx(wanted, rel=1e-6)


@given(problems(), st.data())
def test_rows_add_up(problem: Problem, data: st.DataObject) -> None:
    one, other = problem.costs["flash"].rows[0], problem.costs[LOSS].rows[0]
    bits = {group.name: data.draw(st.sampled_from(group.widths)) for group in problem.groups}
    assert one.plus(other).at(bits) == one.at(bits) + other.at(bits)
    assert one.plus(other).times(2).at(bits) == 2 * one.at(bits) + 2 * other.at(bits)


def chain(layers: int, widths: tuple[int, ...] = (2, 3, 4, 5, 6, 8)) -> Problem:
    """As many layers as asked for, each with a weight and an activation; losses fall with bits as rounding's do."""
    groups = [Group(f"w{i}", (f"w{i}",), True, widths) for i in range(layers)]
    groups += [Group(f"a{i}", (f"a{i}",), False, widths) for i in range(layers)]
    sizes = [1000 * (1 + i * 7919 % 97) for i in range(layers)]
    loss = {g.name: {b: (1 + hash_of(g.name)) * 4.0**-b for b in widths} for g in groups}
    flash = {f"w{i}": {b: sizes[i] * b / 8 for b in widths} for i in range(layers)}
    work = {
        (f"w{i}", f"a{i}"): {(b, c): float(sizes[i] * b * c) for b in widths for c in widths} for i in range(layers)
    }
    memory = tuple(
        Row(0, {f"a{j}": {b: sizes[j] * b / 8 for b in widths} for j in (i, i + 1)}) for i in range(layers - 1)
    )
    costs = {"flash": Cost((Row(0, flash),)), "bops": Cost((Row(0, {}, work),)), "ram": Cost(memory)}
    costs[LOSS] = Cost((Row(0, loss),))
    even = {group.name: 4 for group in groups}
    return Problem(tuple(groups), costs, {name: costs[name].at(even) for name in ("flash", "bops", "ram")})


def hash_of(name: str) -> float:
    return math.fmod(sum(ord(letter) * 31**i for i, letter in enumerate(name)) * 0.6180339887, 1.0)


def test_a_network_of_110_layers_is_solved_to_a_proven_optimum_no_worse_than_even_widths() -> None:
    problem = chain(110)
    found = solve(problem)
    assert found is not None
    assert found.status == "optimal"
    assert problem.allows(found.bits)
    assert found.loss < problem.costs[LOSS].at({group.name: 4 for group in problem.groups})
