"""Dyadic ratios: nearest, within their bits, one shift for all."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.errors import InternalError
from bitsmith.ir.dyadic import LARGEST_SHIFT, dyadic

RATIOS = st.floats(2.0**-40, 2.0**20, allow_nan=False, allow_infinity=False)


@given(st.lists(RATIOS, min_size=1, max_size=8), st.integers(22, 31))
def test_every_multiplier_is_nearest_over_the_shared_shift(ratios: list[float], bits: int) -> None:
    multipliers, shift = dyadic(ratios, bits)
    assert 1 <= shift <= LARGEST_SHIFT
    for ratio, multiplier in zip(ratios, multipliers, strict=True):
        assert 1 <= multiplier < 1 << bits
        if multiplier > 1:
            assert abs(Fraction(ratio) * (1 << shift) - int(multiplier)) <= Fraction(1, 2)


@given(st.floats(2.0**-31, 2.0**29))
def test_the_largest_ratio_gets_all_the_bits(ratio: float) -> None:
    multipliers, _ = dyadic([ratio, ratio / 1000])
    assert 1 << 30 <= multipliers[0] < 1 << 31


def test_a_ratio_just_below_a_power_of_two_does_not_overflow_its_bits() -> None:
    multipliers, _ = dyadic([np.nextafter(1.0, 0.0)])
    assert multipliers[0] < 1 << 31


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf"), 2.0**31])
def test_a_ratio_that_no_multiplier_holds_is_refused(ratio: float) -> None:
    with pytest.raises(InternalError):
        dyadic([ratio])
