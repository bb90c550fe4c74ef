"""The divergences by look-up against the published procedure, spelled out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr

from bitsmith.observers.divergence import divergences, kl
from tests.compiler.observers.seen import seen


def spelled_out(counts: npt.NDArray[np.int64], start: int, stop: int, levels: int) -> float:
    """KL(P || Q) of one window: build P and Q as distributions over its bins, and compare them."""
    window = counts[start:stop].astype(np.float64)
    p = window.copy()
    p[0] += counts[:start].sum()
    p[-1] += counts[stop:].sum()
    q = np.zeros_like(window)
    for level in range(levels):
        bins = slice(level * len(window) // levels, (level + 1) * len(window) // levels)
        filled = window[bins] > 0
        if filled.any():
            q[bins] = np.where(filled, window[bins].sum() / filled.sum(), 0)
    if q.sum() == 0:
        return np.inf
    return float(rel_entr(p / p.sum(), q / q.sum()).sum())


@st.composite
def windows(draw: st.DrawFn) -> tuple[list[int], int, int, int]:
    counts = draw(st.lists(st.integers(0, 9), min_size=2, max_size=30).filter(any))
    start = draw(st.integers(0, len(counts) - 2))
    stop = draw(st.integers(start + 2, len(counts)))
    return counts, start, stop, draw(st.integers(2, stop - start))


@given(windows())
def test_a_divergence_is_that_of_the_distributions(case: tuple[list[int], int, int, int]) -> None:
    counts, start, stop, levels = np.array(case[0]), *case[1:]
    (found,) = divergences(counts, np.array([start]), np.array([stop]), levels)
    assert found == pytest.approx(spelled_out(counts, start, stop, levels), abs=1e-12)


def test_as_many_levels_as_bins_lose_nothing() -> None:
    counts = np.array([3, 0, 5, 2, 8])
    assert divergences(counts, np.array([0]), np.array([5]), 5) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    "values",
    [
        np.maximum(np.random.default_rng(2).normal(size=30_000), 0),
        np.random.default_rng(3).exponential(size=30_000),
    ],
    ids=["relu", "exponential"],
)
def test_the_threshold_of_a_one_sided_value_is_the_best_of_all(values: npt.NDArray[np.float64]) -> None:
    statistics = seen(values, bins=200)
    histogram = statistics.require_histogram()
    counts = histogram.counts.copy()
    counts[0] = min(counts[0], counts[1])
    every = {stop: spelled_out(counts, 0, stop, 16) for stop in range(16, len(counts) + 1)}
    best = min(every, key=every.__getitem__)
    assert kl(statistics, 16, False) == (statistics.minimum, min(best * histogram.width, statistics.maximum))


def test_the_zeros_of_a_relu_do_not_move_the_threshold() -> None:
    x = np.abs(np.random.default_rng(4).normal(size=50_000))
    dense, sparse = seen(x, bins=1024), seen(np.append(x, np.zeros(200_000)), bins=1024)
    assert kl(sparse, 16, False)[1] == pytest.approx(kl(dense, 16, False)[1], rel=0.05)
    # Not clipped to where the zeros would be most of what is left.
    assert kl(sparse, 256, False)[1] > 3


def test_a_symmetric_range_is_searched_on_the_grid_of_both_sides() -> None:
    x = np.random.default_rng(5).normal(size=50_000)
    skewed = np.where(x < 0, x * 0.02, x)
    low, high = kl(seen(skewed, bins=1024), 16, True)
    assert low == skewed.astype(np.float32).min()
    assert high > 2


def test_more_levels_than_bins_leave_the_extremes() -> None:
    statistics = seen(np.random.default_rng(6).normal(size=1000), bins=100)
    assert kl(statistics, 256, False) == (statistics.minimum, statistics.maximum)
