"""Requantize steps by narrower multipliers: the same integer for every accumulator, with fewer adders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsmith.backends.rtl.rescale import Staircase, cheapest, digits, roundest
from bitsmith.errors import UnsupportedError


@st.composite
def staircases(draw: st.DrawFn) -> Staircase:
    multiplier, shift = draw(st.integers(1, 2**31 - 1)), draw(st.integers(1, 40))
    zero_point, lowest = draw(st.integers(-128, 127)), draw(st.integers(-128, 127))
    start = draw(st.integers(-5000, 5000))
    ends = (start, start + draw(st.integers(0, 5000)))
    return Staircase(multiplier, shift, zero_point, lowest, draw(st.integers(lowest, 255)), ends)


@settings(max_examples=300, deadline=None)
@given(wanted=staircases())
def test_every_accumulator_falls_on_the_same_integer(wanted: Staircase) -> None:
    sums = np.arange(wanted.accumulator[0], wanted.accumulator[1] + 1)
    exact = ((sums * wanted.multiplier + (1 << (wanted.shift - 1))) >> wanted.shift) + wanted.zero_point
    expected = np.clip(exact, wanted.lowest, wanted.highest)
    found = cheapest(wanted, "here")
    if found is None:
        assert len(set(expected.tolist())) == 1
        return
    made = np.clip((sums * found.multiplier + found.offset) >> found.shift, wanted.lowest, wanted.highest)
    np.testing.assert_array_equal(made, expected)
    assert found.shift <= wanted.shift
    assert digits(found.multiplier) <= digits(wanted.multiplier)


def test_a_power_of_two_is_a_shift() -> None:
    found = cheapest(Staircase(1 << 30, 36, 3, -128, 127, (-9000, 9000)), "here")
    assert found is not None
    assert (found.multiplier, found.shift, found.offset) == (1, 6, (1 << 5) + (3 << 6))


def test_a_coarse_result_asks_for_few_digits() -> None:
    wanted = Staircase(1_518_500_250, 36, 0, 0, 15, (-300, 300))
    found = cheapest(wanted, "here")
    assert found is not None
    assert digits(found.multiplier) <= 5 < digits(wanted.multiplier)


def test_products_that_are_too_wide_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="Add here: no multiplier that fits"):
        cheapest(Staircase(1, 40, 0, -128, 127, (-(1 << 50), 1 << 50)), "Add here")


@given(number=st.integers(1, 2**31 - 1))
def test_digits_are_those_of_the_canonical_form(number: int) -> None:
    count, rest = 0, number
    while rest:
        if rest & 1:
            digit = 2 - (rest & 3)
            count, rest = count + 1, rest - digit
        rest >>= 1
    assert digits(number) == count


@given(least=st.integers(-500, 500), span=st.integers(0, 300))
def test_the_roundest_integer(least: int, span: int) -> None:
    found = roundest(least, least + span)
    assert least <= found <= least + span

    def zeros(one: int) -> int:
        return 99 if one == 0 else (one & -one).bit_length()

    assert zeros(found) == max(zeros(one) for one in range(least, least + span + 1))
