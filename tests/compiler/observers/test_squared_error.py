"""The error of a grid against quadrature, and the search against trying every pair of ends."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.ir.formats import Format, IntegerType, affine, symmetric
from bitsmith.ir.statistics import Histogram
from bitsmith.observers.squared_error import affine_error, mse, squared_error, symmetric_error
from tests.compiler.observers.seen import seen

Array = npt.NDArray[np.float64]


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    """Up to 12 bins of width 1 with 0.0 on an edge."""
    counts = draw(st.lists(st.integers(0, 20), min_size=1, max_size=12).filter(any))
    below = draw(st.integers(0, len(counts)))
    return Histogram(np.array(counts, np.int64), -float(below), float(len(counts) - below))


def integrated(histogram: Histogram, points: Array, per_bin: int = 4000) -> float:
    """The expected squared distance to the nearest of `points`, by the midpoint rule."""
    x = (np.arange(per_bin) + 0.5) / per_bin
    x = (histogram.edges[:-1, None] + x * histogram.width).ravel()
    nearest = np.abs(x[:, None] - points).min(axis=1)
    weights = np.repeat(histogram.counts, per_bin) / histogram.counts.sum() / per_bin
    return float((weights * nearest**2).sum())


@given(histograms(), st.floats(0.05, 3), st.integers(-8, 3), st.integers(2, 10))
def test_the_error_of_a_grid_is_its_integral(histogram: Histogram, scale: float, first: int, levels: int) -> None:
    (found,) = squared_error(histogram, np.array([scale]), first, levels)
    points = scale * (first + np.arange(levels))
    assert found == pytest.approx(integrated(histogram, points), rel=1e-4, abs=1e-7)


def grid(format: Format) -> Array:
    every = np.arange(format.type.lowest, format.type.highest + 1)
    return format.dequantize(every).astype(np.float64)


@given(histograms(), st.floats(0.1, 8), st.floats(0.1, 8), st.sampled_from([2, 3, 4]))
def test_the_grids_are_those_that_formats_make(histogram: Histogram, low: float, high: float, bits: int) -> None:
    kind = IntegerType(bits)
    (error,) = affine_error(histogram, np.array([-low]), np.array([high]), 1 << bits)
    assert error == pytest.approx(integrated(histogram, grid(affine(-low, high, kind))), rel=1e-3, abs=1e-6)
    (error,) = symmetric_error(histogram, np.array([high]), 1 << bits)
    assert error == pytest.approx(integrated(histogram, grid(symmetric(high, kind))), rel=1e-3, abs=1e-6)


def shapes() -> dict[str, Array]:
    random = np.random.default_rng(5)
    normal = random.normal(size=20_000)
    return {
        "normal": normal,
        "relu": np.maximum(normal, 0),
        "relu6": np.clip(normal * 4, 0, 6),
        "hard-swish": normal * np.clip(normal + 3, 0, 6) / 6,
        "laplace": random.laplace(size=20_000),
        "skewed": random.exponential(size=20_000) - 0.3,
        "negative": -np.abs(normal),
        "two heaps": np.concatenate([normal * 0.1, normal[:500] * 0.1 + 8]),
        "outliers": np.concatenate([normal, [40.0, -25.0]]),
        "heavy tails": random.standard_t(2, size=20_000),
    }


@pytest.mark.parametrize("shape", sorted(shapes()))
@pytest.mark.parametrize("levels", [4, 16, 64])
def test_the_search_finds_what_trying_all_pairs_finds(shape: str, levels: int) -> None:
    statistics = seen(shapes()[shape], bins=256)
    histogram = statistics.require_histogram()
    lows, highs = (axis.ravel() for axis in np.meshgrid(*ends(statistics.minimum, statistics.maximum, 120)))
    best = min(affine_error(histogram, lows[i::20], highs[i::20], levels).min() for i in range(20))
    low, high = mse(statistics, levels, False)
    (found,) = affine_error(histogram, np.array([low]), np.array([high]), levels)
    assert found <= best * 1.005


@pytest.mark.parametrize("shape", sorted(shapes()))
@pytest.mark.parametrize("levels", [4, 16, 64])
def test_the_symmetric_search_finds_what_trying_all_magnitudes_finds(shape: str, levels: int) -> None:
    statistics = seen(shapes()[shape], bins=256)
    histogram = statistics.require_histogram()
    low, high = mse(statistics, levels, True)
    if statistics.minimum >= 0:
        every = np.linspace(0, statistics.maximum, 1001)[1:]
        best = affine_error(histogram, np.zeros(1000), every, levels).min()
        (found,) = affine_error(histogram, np.zeros(1), np.array([high]), levels)
    else:
        every = np.linspace(0, max(-statistics.minimum, statistics.maximum), 1001)[1:]
        best = symmetric_error(histogram, every, levels).min()
        (found,) = symmetric_error(histogram, np.array([max(-low, high)]), levels)
    assert found <= best * 1.005


def ends(minimum: float, maximum: float, steps: int) -> list[Array]:
    """Candidates for both ends: evenly spaced from (almost) 0.0 to each extreme."""
    fractions = np.arange(1, steps + 1) / steps
    return [end * fractions if end else np.zeros(1) for end in (min(minimum, 0.0), max(maximum, 0.0))]


@pytest.mark.parametrize("shape", ["normal", "relu", "laplace"])
def test_the_chosen_range_quantizes_the_data_better_than_its_extremes(shape: str) -> None:
    x = shapes()[shape]
    statistics = seen(x, bins=2048)
    kind = IntegerType(4)

    def error(low: float, high: float) -> float:
        format = affine(low, high, kind)
        return float(np.mean((format.dequantize(format.quantize(x)) - x) ** 2))

    assert error(*mse(statistics, 16, False)) < 0.7 * error(statistics.minimum, statistics.maximum)
