"""The paired test against its definition."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.search.compare import paired


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_the_p_value_counts_splits_at_least_as_uneven(pairs: list[tuple[bool, bool]]) -> None:
    found = paired([first for first, _ in pairs], [second for _, second in pairs])
    gained, lost = pairs.count((True, False)), pairs.count((False, True))
    different = gained + lost
    uneven = [k for k in range(different + 1) if abs(2 * k - different) >= abs(gained - lost)]
    assert (found.gained, found.lost) == (gained, lost)
    assert found.p == pytest.approx(sum(math.comb(different, k) for k in uneven) / 2**different)


def test_known_values() -> None:
    # 10 : 0 by hand: 2 / 2^10.
    assert paired([True] * 10, [False] * 10).p == pytest.approx(2 / 1024)
    assert paired([True, False], [True, False]).p == 1.0
