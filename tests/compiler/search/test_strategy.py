"""What is proposed: by brute force over a small problem, and the same whatever stops a search half-way."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsmith.allocation.problem import LOSS, Bits, Cost, Group, Problem, Row
from bitsmith.allocation.program import solve
from bitsmith.search.point import PROGRAM, SWAP, UNIFORM, Candidate, Point
from bitsmith.search.strategy import Strategy, bits_of, spread, uniform

WIDTHS = (2, 3, 4, 8)
SIZES = {"u": 10, "v": 31, "w": 7, "x": 50}
LOSSES = {
    "u": {2: 9.0, 3: 3.0, 4: 1.0, 8: 0.0},
    "v": {2: 2.0, 3: 0.5, 4: 0.25, 8: 0.0},
    "w": {2: 30.0, 3: 12.0, 4: 6.0, 8: 0.5},
    "x": {2: 4.0, 3: 3.5, 4: 0.5, 8: 0.0},
}


def problem(with_edge: bool = False) -> Problem:
    groups = [Group(name, (name,), True, WIDTHS) for name in SIZES]
    costs = {
        "flash": Cost((Row(5, {name: {bits: size * bits for bits in WIDTHS} for name, size in SIZES.items()}),)),
        LOSS: Cost((Row(0, LOSSES),)),
    }
    if with_edge:
        groups.append(Group("y", ("y", "z"), False, (8,)))
    return Problem(tuple(groups), costs, {})


def measured(candidate: Candidate, asked: Problem) -> Point:
    """A point whose accuracy is what the loss predicts, but for a surprise that swaps can find."""
    bits = bits_of(asked, candidate.allocation)
    loss = asked.costs[LOSS].at(bits) + (3.0 if bits["v"] == bits["x"] == 4 else 0.0)
    accuracy = 1 - loss / 100
    return Point(candidate, {"flash": asked.costs["flash"].at(bits)}, accuracy, accuracy, 20.0, 1.0)


def searched(strategy: Strategy, count: int, points: list[Point] | None = None) -> list[Point]:
    found = list(points or [])
    while len(found) < count and (candidate := strategy.propose(found, [])) is not None:
        found.append(measured(candidate, strategy.problem))
    return found


def everything() -> list[Bits]:
    return [dict(zip(SIZES, bits, strict=True)) for bits in itertools.product(WIDTHS, repeat=len(SIZES))]


def test_uniform_allocations_come_first_then_the_program_then_swaps() -> None:
    origins = [point.candidate.origin for point in searched(Strategy(problem(), solve, "flash", steps=6), 40)]
    assert origins[:4] == [UNIFORM] * 4
    assert origins == sorted(origins, key=[UNIFORM, PROGRAM, SWAP].index)
    assert set(origins) == {UNIFORM, PROGRAM, SWAP}


def test_no_allocation_is_proposed_twice_and_a_search_ends() -> None:
    points = searched(Strategy(problem(), solve, "flash"), 1000)
    assert len({point.candidate.key for point in points}) == len(points) < len(everything())
    assert len({point.name for point in points}) == len(points)


def test_the_program_gets_the_least_loss_at_the_size_of_each_uniform_allocation() -> None:
    asked = problem()
    costs, losses = asked.costs["flash"], asked.costs[LOSS]
    points = searched(Strategy(asked, solve, "flash"), 30)
    for anchor in [point for point in points if point.candidate.origin == UNIFORM]:
        within = [bits for bits in everything() if costs.at(bits) <= anchor.costs["flash"]]
        least = min(losses.at(bits) for bits in within)
        assert any(
            point.costs["flash"] <= anchor.costs["flash"]
            and losses.at(bits_of(asked, point.candidate.allocation)) == pytest.approx(least)
            for point in points
        )


def test_swaps_move_one_width_up_and_one_down_and_cost_no_more() -> None:
    asked = problem()
    strategy = Strategy(asked, solve, "flash", steps=0)
    bits = {"u": 4, "v": 3, "w": 8, "x": 3}
    point = measured(Candidate("start", PROGRAM, asked.allocation(bits)), asked)
    found = [bits_of(asked, candidate.allocation) for candidate in strategy.swaps([point])]

    def is_swap(other: Bits) -> bool:
        steps = sorted(WIDTHS.index(other[name]) - WIDTHS.index(bits[name]) for name in SIZES)
        return steps == [-1, 0, 0, 1] and asked.costs["flash"].at(other) <= point.costs["flash"]

    losses = [asked.costs[LOSS].at(other) for other in found]
    assert sorted(map(str, found)) == sorted(str(other) for other in everything() if is_swap(other))
    assert losses == sorted(losses)


def test_widths_that_take_the_room_of_wider_ones_are_for_uniform_allocations_alone() -> None:
    """And these are compiled with one width for all layers, so that is what they must say."""
    asked = problem()
    (row,) = asked.costs["flash"].rows
    packed = {**row.singles, "w": {2: 14, 3: 28, 4: 28, 8: 56}}
    asked = replace(asked, costs={**asked.costs, "flash": Cost((replace(row, singles=packed),))})
    strategy = Strategy(asked, solve, "flash")
    anchors = list(strategy.anchors())
    assert [set(bits_of(asked, one.allocation).values()) for one in anchors] == [{8}, {4}, {2}, {3}]
    assert {bits_of(asked, one.allocation)["w"] for one in strategy.programs()} == {2, 4, 8}
    three = measured(anchors[-1], asked)
    neighbours = [bits_of(asked, one.allocation) for one in strategy.swaps([three])]
    assert {bits["w"] for bits in neighbours} == {2, 4, 8}
    assert max(map(asked.costs["flash"].at, neighbours)) <= three.costs["flash"]


def test_swaps_find_what_the_program_cannot_know() -> None:
    asked = problem()
    points = searched(Strategy(asked, solve, "flash"), 200)
    before = [point for point in points if point.candidate.origin != SWAP]
    better = [
        swap
        for swap in points
        if swap.candidate.origin == SWAP
        and swap.accuracy > max((p.accuracy for p in before if p.costs["flash"] <= swap.costs["flash"]), default=1.0)
    ]
    assert better


@settings(max_examples=12)
@given(st.integers(0, 24), st.integers(0, 24))
def test_a_search_that_is_stopped_and_started_again_measures_the_same(first: int, second: int) -> None:
    whole = searched(Strategy(problem(), solve, "flash", steps=4), 24)
    part = searched(Strategy(problem(), solve, "flash", steps=4), min(first, second))
    part = searched(Strategy(problem(), solve, "flash", steps=4), max(first, second), part)
    assert searched(Strategy(problem(), solve, "flash", steps=4), 24, part) == whole


def test_what_is_in_work_is_not_proposed() -> None:
    strategy = Strategy(problem(), solve, "flash")
    pending: list[Candidate] = []
    for _ in range(12):
        candidate = strategy.propose([], pending)
        assert candidate is not None
        assert candidate.key not in {one.key for one in pending}
        pending.append(candidate)


def test_what_has_one_width_alone_keeps_it() -> None:
    asked = problem(with_edge=True)
    assert uniform(asked, 3) == {"u": 3, "v": 3, "w": 3, "x": 3, "y": 8}
    for point in searched(Strategy(asked, solve, "flash"), 30):
        assert dict(point.candidate.allocation.activations) == {"y": 8, "z": 8}


def test_places_are_spread_out_from_the_start() -> None:
    assert spread(7) == [0.5, 0.25, 0.75, 0.125, 0.625, 0.375, 0.875]


def test_names_stay_apart_where_losses_were_measured_anew() -> None:
    asked = problem()
    points = searched(Strategy(asked, solve, "flash"), 12)
    other = replace(
        asked, costs={**asked.costs, LOSS: Cost((Row(0, dict(zip(LOSSES, reversed(LOSSES.values()), strict=False))),))}
    )
    more = searched(Strategy(other, solve, "flash"), 24, points)
    assert len({point.name for point in more}) == len(more) == 24


def test_the_program_looks_first_at_a_little_more_than_the_cheapest() -> None:
    asked = problem()
    cheapest = asked.costs["flash"].at(uniform(asked, 2))
    points = searched(Strategy(asked, solve, "flash"), 5)
    first = bits_of(asked, points[4].candidate.allocation)
    within = [bits for bits in everything() if asked.costs["flash"].at(bits) <= cheapest * 1.05]
    assert len(within) > 1
    assert asked.costs[LOSS].at(first) == min(asked.costs[LOSS].at(bits) for bits in within)


def test_a_uniform_allocation_says_its_width_only_where_all_that_are_free_have_it() -> None:
    edge = Group("y", ("y",), False, (8,), is_edge=True)
    settled = Group("z", ("z",), False, (6,), settled=True)
    whole = problem()
    whole = replace(whole, groups=(*whole.groups, edge, settled))
    assert [one.bits for one in Strategy(whole, solve, "flash").anchors()] == [8, 4, 2, 3]
    # Of u, nothing is known at 3 and 4 bits.
    lacking = replace(whole, groups=(replace(whole.groups[0], widths=(2, 8)), *whole.groups[1:]))
    found = {one.name: one for one in Strategy(lacking, solve, "flash").anchors()}
    assert {name: one.bits for name, one in found.items()} == {
        "uniform-8": 8,
        "uniform-4": None,
        "uniform-2": 2,
        "uniform-3": None,
    }
    assert found["uniform-4"].allocation.weights == {"u": 8, "v": 4, "w": 4, "x": 4}
