"""Spreads of weights and activations, held to counting one by one."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.grids import TERNARY, Grouped
from bitsmith.ir.statistics import Histogram
from bitsmith.spread import BINS, Spread, of_activations, of_weights


def counted(spread: Spread, steps: np.ndarray) -> list[int]:
    """Elements by bin, the slow way."""
    found = [0] * BINS
    for step in steps.ravel().tolist():
        place = 0
        while place < BINS - 1 and step >= spread.first + (place + 1) * spread.width:
            place += 1
        found[place] += 1
    return found


@given(st.integers(2, 8), st.integers(0, 2**32 - 1), st.floats(0.1, 3.0))
def test_every_weight_is_counted_once_where_it_lies(bits: int, seed: int, beyond: float) -> None:
    kind = IntegerType(bits)
    scale = np.array([0.25, 2.0], np.float32)
    real = np.random.default_rng(seed).normal(size=(2, 30)) * kind.highest * beyond * scale[:, None]
    chosen = Format(kind, tuple(map(float, scale)), axis=0)
    stored = chosen.quantize(real)
    spread = of_weights(stored, chosen, real)
    assert len(spread.real) <= BINS
    assert sum(spread.real) == sum(spread.stored) == real.size
    filled = [*spread.stored, *[0] * BINS][:BINS]
    assert filled == counted(spread, stored.astype(float))
    assert [*spread.real, *[0] * BINS][:BINS] == counted(spread, real / scale[:, None])
    assert spread.first <= kind.lowest
    assert spread.first + BINS * spread.width > kind.highest
    assert spread.levels == (tuple(range(kind.lowest, kind.highest + 1)) if bits <= 6 else ())


def test_narrow_bins_have_their_integer_in_the_middle() -> None:
    chosen = Format(IntegerType(3), (1.0,), axis=None)
    spread = of_weights(np.array([[-3, 0, 1, 3]], np.int8), chosen, np.array([[-2.9, 0.1, 1.2, 3.05]]))
    assert spread.width == 0.25
    middles = [spread.first + (place + 0.5) * spread.width for place, count in enumerate(spread.stored) if count]
    assert middles == [-3.0, 0.0, 1.0, 3.0]


def test_a_few_weights_far_out_do_not_widen_the_bins_for_all() -> None:
    chosen = Format(IntegerType(4), (1.0,), axis=None)
    spread = of_weights(np.array([[1, 7]], np.int8), chosen, np.array([[1.0, 1e9]]))
    assert spread.width <= 1.0
    assert sum(spread.real) == 2


def test_grids_tell_their_own_levels() -> None:
    ternary = Format(IntegerType(2), (0.5,), grid=TERNARY)
    assert of_weights(np.array([[-1, 1]], np.int8), ternary, None).levels == (-1, 0, 1)
    grouped = Format(IntegerType(8), (0.5,), axis=0, grid=Grouped(2, 2, ((1, 100),)))
    spread = of_weights(np.array([[1, -1, 100, 0]], np.int8), grouped, np.array([[0.5, -0.5, 50.0, 0.0]]))
    assert (spread.lowest, spread.highest, spread.levels) == (-1, 1, (-1, 0, 1))
    assert spread.real == spread.stored


def test_weights_of_another_shape_are_not_those_before_rounding() -> None:
    chosen = Format(IntegerType(4), (1.0,), axis=None)
    assert of_weights(np.array([[1, 7]], np.int8), chosen, np.zeros((1, 3))).real == ()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=700))
def test_bins_of_activations_are_joined_and_none_is_lost(counts: list[int]) -> None:
    histogram = Histogram(np.array(counts, np.int64), -2.0, -2.0 + 0.5 * len(counts))
    spread = of_activations(histogram, Format(IntegerType(8), (0.25,), zero_point=-3))
    assert len(spread.real) <= BINS
    assert sum(spread.real) == sum(counts)
    assert spread.first == pytest.approx(-2.0 / 0.25 - 3)
    joined = round(spread.width * 0.25 / 0.5)
    assert list(spread.real) == [sum(counts[start : start + joined]) for start in range(0, len(counts), joined)]


def test_large_weights_are_looked_at_a_few_channels_at_a_time() -> None:
    real = np.random.default_rng(0).normal(size=(1200, 1024)).astype(np.float32)
    chosen = Format(IntegerType(4), tuple(np.abs(real).max(axis=1) / 7), axis=0)
    stored = chosen.quantize(real)
    tracemalloc.start()
    spread = of_weights(stored, chosen, real)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * real.nbytes
    assert sum(spread.real) == sum(spread.stored) == real.size
    steps = real / np.reshape(chosen.scale, (-1, 1))
    for count, place in zip(spread.real, range(BINS), strict=False):
        low = spread.first + place * spread.width
        assert count == np.count_nonzero((steps >= low) & (steps < low + spread.width))
