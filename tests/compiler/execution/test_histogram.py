"""The streaming histogram against counting with the final bins known beforehand."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bitsmith.execution.histogram import CHUNK, StreamingHistogram
from bitsmith.ir.statistics import Histogram

Elements = npt.NDArray[np.float32]

# x / width is exact unless it underflows: denormals beside large numbers have a test of their own.
magnitudes = st.floats(-(2.0**60), 2.0**60, width=32).filter(lambda x: x == 0 or abs(x) > 1e-15)
batches = st.lists(arrays(np.float32, st.integers(1, 40), elements=magnitudes), min_size=1, max_size=6)


def collect(parts: list[Elements], bins: int) -> Histogram:
    histogram = StreamingHistogram(bins)
    for part in parts:
        histogram.add(part, float(part.min()), float(part.max()))
    return histogram.result()


@given(batches, st.integers(2, 70))
def test_counts_are_those_of_one_pass_with_the_final_bins(parts: list[Elements], bins: int) -> None:
    found = collect(parts, bins)
    x = np.concatenate(parts).astype(np.float64)
    first = round(found.lowest / found.width)
    index = np.floor(x / found.width).astype(np.int64) - first
    np.testing.assert_array_equal(found.counts, np.bincount(index, minlength=len(found.counts)))


@given(batches, st.integers(2, 70))
def test_the_bins_cover_what_was_seen_and_zero_with_no_bin_to_spare(parts: list[Elements], bins: int) -> None:
    found = collect(parts, bins)
    x = np.concatenate([*parts, np.zeros(1, np.float32)]).astype(np.float64)
    assert math.frexp(found.width)[0] == 0.5
    assert (found.lowest / found.width).is_integer()
    assert found.lowest <= x.min() < found.lowest + found.width
    assert found.highest - found.width <= x.max() < found.highest
    assert len(found.counts) <= bins
    # Half as wide, they would be too many: the width is the least power of two that will do.
    half = found.width / 2
    assert math.floor(x.max() / half) - math.floor(x.min() / half) >= bins or half < 2.0**-126


@given(batches, st.integers(2, 70))
def test_neither_the_order_nor_the_split_of_the_data_matters(parts: list[Elements], bins: int) -> None:
    whole = collect([np.concatenate(parts)], bins)
    split = collect(parts[::-1], bins)
    assert (whole.lowest, whole.highest) == (split.lowest, split.highest)
    np.testing.assert_array_equal(whole.counts, split.counts)


def test_all_zeros_take_one_bin_that_starts_at_zero() -> None:
    found = collect([np.zeros(5, np.float32)], 2048)
    assert found.counts.tolist() == [5]
    assert found.lowest == 0.0
    assert found.highest == 2.0**-126


@pytest.mark.parametrize("constant", [5.0, -0.1, 1e30, -1e-30])
def test_a_constant_fills_one_bin_at_the_end(constant: float) -> None:
    found = collect([np.full(7, constant, np.float32)] * 3, 16)
    assert found.counts[-1 if constant > 0 else 0] == found.counts.sum() == 21


def test_the_largest_floats_of_both_signs_fit() -> None:
    largest = np.finfo(np.float32).max
    found = collect([np.array([largest, 0, -largest], np.float32)], 2048)
    assert found.counts.sum() == 3
    assert found.counts[0] == found.counts[-1] == found.counts[round(-found.lowest / found.width)] == 1


def test_denormals_beside_large_numbers_are_counted_next_to_zero() -> None:
    found = collect([np.array([1e-40, -1e-40, 1e30], np.float32)], 64)
    zero = round(-found.lowest / found.width)
    assert found.counts[zero - 1 : zero + 1].sum() == 2


def test_many_elements_are_counted_without_memory_for_each() -> None:
    x = np.random.default_rng(0).normal(size=40 * CHUNK + 17).astype(np.float32)
    histogram = StreamingHistogram(2048)
    tracemalloc.start()
    histogram.add(x, float(x.min()), float(x.max()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert histogram.result().counts.sum() == x.size
    assert peak < x.nbytes / 4
