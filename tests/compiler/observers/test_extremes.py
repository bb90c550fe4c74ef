"""min-max and percentile against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from bitsmith.observers.extremes import min_max, percentile
from tests.compiler.observers.seen import seen


def test_min_max_is_the_extremes() -> None:
    assert min_max(seen(np.array([3.0, -2.5, 1.0])), 256, False) == (-2.5, 3.0)


@pytest.mark.parametrize("shape", ["standard_normal", "standard_exponential"])
def test_percentile_leaves_out_its_part_to_within_a_bin(shape: str) -> None:
    x = getattr(np.random.default_rng(1), shape)(300_000).astype(np.float32)
    statistics = seen(x, bins=2048)
    histogram = statistics.require_histogram()
    lowest, highest = percentile(statistics, 256, False)
    for end, outside in ((lowest, (x < lowest).sum()), (highest, (x > highest).sum())):
        (bin_count, *_) = histogram.counts[np.searchsorted(histogram.edges, end, side="right") - 1 :]
        assert abs(outside - 0.00005 * x.size) <= bin_count


def test_percentile_of_few_elements_leaves_almost_nothing_out() -> None:
    statistics = seen(np.array([-1.0, 0.0, 1.0]))
    np.testing.assert_allclose(percentile(statistics, 256, False), (-1, 1), atol=statistics.require_histogram().width)
