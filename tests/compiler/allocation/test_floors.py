"""Solutions under floors: what each may not have, what all keep to, and that one is never narrower than uniform."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsmith.allocation.floors import above, floors
from bitsmith.allocation.problem import LOSS, Cost, Problem, Row
from bitsmith.allocation.program import solve
from bitsmith.search.strategy import uniform
from tests.compiler.allocation.test_program import chain

WIDTHS = (2, 3, 4, 5, 6, 8)


def limited(bits: int, layers: int = 2, room: float = 1.0) -> Problem:
    problem = chain(layers)
    even = uniform(problem, bits)
    return replace(problem, limits={name: room * problem.costs[name].at(even) for name in ("flash", "bops", "ram")})


@settings(max_examples=10)
@given(st.sampled_from(WIDTHS), st.floats(1.0, 1.3))
def test_no_width_is_below_the_floor_and_losses_rise_with_it(bits: int, room: float) -> None:
    problem = limited(bits, room=room)
    found = list(floors(problem, solve))
    assert found
    for floor, solution in found:
        assert min(solution.bits.values()) >= floor
        assert problem.allows(solution.bits)
    losses = [solution.loss for _, solution in found]
    assert losses == sorted(losses)
    assert len({tuple(sorted(solution.bits.items())) for _, solution in found}) == len(found)


@settings(max_examples=10)
@given(st.sampled_from(WIDTHS), st.floats(1.0, 1.3))
def test_the_highest_floor_has_nowhere_fewer_bits_than_the_widest_uniform_allocation(bits: int, room: float) -> None:
    problem = limited(bits, room=room)
    widest = max(one for one in WIDTHS if problem.allows(uniform(problem, one)))
    *_, (_, last) = floors(problem, solve)
    assert all(width >= widest for width in last.bits.values())


def test_a_group_without_widths_above_the_floor_keeps_its_widest() -> None:
    problem = limited(8)
    narrow = replace(problem.groups[0], widths=(2, 3))
    held = above(replace(problem, groups=(narrow, *problem.groups[1:])), 5)
    assert [group.widths for group in held.groups] == [(3,), *[(5, 6, 8)] * (len(held.groups) - 1)]


def test_what_no_bits_keep_has_no_solutions() -> None:
    problem = replace(limited(2), limits={"flash": 1.0})
    assert not list(floors(problem, solve))


def test_losses_of_pairs_that_a_floor_excludes_play_no_part() -> None:
    problem = limited(4)
    extra = {(b, c): 1000.0 * (min(b, c) < 4) for b in WIDTHS for c in WIDTHS}
    (row,) = problem.costs[LOSS].rows
    problem = replace(problem, costs={**problem.costs, LOSS: Cost((Row(0, row.singles, {("w0", "w1"): extra}),))})
    found = solve(above(problem, 4))
    assert found is not None
    assert found.loss == pytest.approx(problem.costs[LOSS].at(found.bits))
    assert found.loss < 1000
