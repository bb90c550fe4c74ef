"""Plans of the arena, against the rules that they must keep and against every plan there is."""

from __future__ import annotations

from itertools import combinations, permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsmith.backends.c.buffer import Buffer, Overlap
from bitsmith.backends.c.memory import extent, place, plan


@st.composite
def problems(draw: st.DrawFn, most: int = 7) -> tuple[list[Buffer], list[Overlap]]:
    """Buffers that a few steps make, and overlaps between some that are read for the last time where others begin."""
    buffers = []
    for index in range(draw(st.integers(1, most))):
        first = draw(st.integers(0, 5))
        buffers.append(Buffer(f"b{index}", draw(st.integers(1, 40)), first, first + draw(st.integers(0, 3))))
    meeting = [(y, x) for y in buffers for x in buffers if x.first < y.first == x.last]
    gaps = st.none() | st.integers(-40, 20)
    overlaps = [Overlap(y.name, x.name, draw(gaps)) for y, x in meeting if draw(st.booleans())]
    return buffers, overlaps


def collide(a: Buffer, b: Buffer, offsets: dict[str, int], overlaps: list[Overlap]) -> bool:
    """Whether two buffers are at once in the same bytes and no overlap allows for it."""
    if a.last < b.first or b.last < a.first:
        return False
    if offsets[a.name] + a.bytes <= offsets[b.name] or offsets[b.name] + b.bytes <= offsets[a.name]:
        return False
    allowed = [one for one in overlaps if {one.written, one.read} == {a.name, b.name}]
    return not any(
        offsets[one.written] == offsets[one.read]
        if one.gap is None
        else offsets[one.written] + one.gap <= offsets[one.read]
        for one in allowed
    )


@given(problem=problems())
def test_nothing_collides_and_nothing_is_below_the_bound(problem: tuple[list[Buffer], list[Overlap]]) -> None:
    buffers, overlaps = problem
    found = plan(buffers, overlaps)
    offsets = dict(found.offsets)
    assert found.total == max(offsets[one.name] + one.size for one in buffers)
    assert found.total >= found.bound
    assert all(offset >= 0 and offset % 4 == 0 for offset in offsets.values())
    assert not any(collide(a, b, offsets, overlaps) for a, b in combinations(buffers, 2))


@settings(max_examples=40)
@given(problem=problems(most=5))
def test_the_bound_is_one(problem: tuple[list[Buffer], list[Overlap]]) -> None:
    """Some order of first-fit placement reaches the least plan wherever overlaps do not pull both ways."""
    buffers, overlaps = problem
    gaps = {(one.written, one.read): one.gap for one in overlaps}
    least = min(extent(buffers, place(order, gaps)) for order in permutations(buffers))
    assert plan(buffers, overlaps).bound <= least + 3


@settings(max_examples=40)
@given(problem=problems(most=4))
def test_no_offsets_at_all_are_below_the_bound(problem: tuple[list[Buffer], list[Overlap]]) -> None:
    """Every assignment of offsets in an arena one word smaller than the bound has a collision."""
    buffers, overlaps = problem
    smaller = plan(buffers, overlaps).bound - 4
    for places in product(*(range(0, smaller - buffer.size + 1, 4) for buffer in buffers)):
        offsets = {buffer.name: place for buffer, place in zip(buffers, places, strict=True)}
        assert any(collide(a, b, offsets, overlaps) for a, b in combinations(buffers, 2))


def test_gaps_along_a_chain_add_up() -> None:
    """Four values of 100 bytes, each written 8 bytes ahead of the one before: the first begins at 24."""
    values = [Buffer(f"v{i}", 100, i, i + 1) for i in range(4)]
    overlaps = [Overlap(f"v{i + 1}", f"v{i}", 8) for i in range(3)]
    found = plan(values, overlaps)
    assert (found.total, found.bound) == (124, 124)
    # Where one of them is so small that it may lie apart, the chain is two.
    values[1] = Buffer("v1", 12, 1, 2)
    found = plan(values, overlaps)
    assert (found.total, found.bound) == (112, 112)


def test_a_value_is_written_over_what_is_read_for_the_last_time() -> None:
    x, y = Buffer("x", 100, 0, 1), Buffer("y", 100, 1, 2)
    assert plan([x, y], []).total == 200
    assert plan([x, y], [Overlap("y", "x", 0)]).total == 100
    ahead = plan([x, y], [Overlap("y", "x", 18)])
    assert (ahead.total, ahead.bound) == (120, 120)
    assert ahead.offsets["x"] - ahead.offsets["y"] == 20


def test_a_plan_goes_by_buffers_and_overlaps_and_cannot_be_changed() -> None:
    x, y = Buffer("x", 100, 0, 1), Buffer("y", 100, 1, 2)
    found = plan([x, y], iter([Overlap("y", "x", 0)]))
    assert plan((x, y), [Overlap("y", "x", 0)]) is found
    assert plan([x, Buffer("y", 104, 1, 2)], [Overlap("y", "x", 0)]) != found
    with pytest.raises(TypeError):
        found.offsets["x"] = 4  # type: ignore[index]
