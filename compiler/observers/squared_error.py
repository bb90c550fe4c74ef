"""The range whose grid has the least expected squared error, by search."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from bitsmith.ir.statistics import Histogram, ValueStatistics
from bitsmith.observers.cumulative import cumulative

Array = npt.NDArray[np.float64]

FRACTIONS = (np.arange(1, 13) / 12) ** 2
"""Of the way from 0.0 to each extreme, where the search first looks: closer together where ranges are small."""

REFINEMENTS = 3
POINTS = 4
"""To each side of the best so far and up to its neighbours, in each refinement."""


def mse(statistics: ValueStatistics, levels: int, symmetric: bool) -> tuple[float, float]:
    """The range that minimises E[(x - q(x))^2], rounding and clipping together, with both ends free.

    The choice of clipping by squared error is that of Banner et al. 2018 (arXiv:1810.05723), here under the
    histogram instead of a fitted density. All pairs of ends on a coarse grid are tried, then finer ones around
    the best. With more levels than bins the histogram is too coarse to tell, and rounding too fine to matter:
    the range is then all that was seen.
    """
    histogram = statistics.require_histogram()
    if levels > len(histogram.counts):
        return statistics.minimum, statistics.maximum
    negative, positive = min(statistics.minimum, 0.0), max(statistics.maximum, 0.0)
    if negative == positive:
        return 0.0, 0.0
    if symmetric and negative < 0:
        magnitude = max(-negative, positive)
        (chosen,) = _search([magnitude * FRACTIONS], lambda m: symmetric_error(histogram, m, levels))
        return max(-chosen, negative), min(chosen, positive)
    ends = [end * FRACTIONS if end else np.zeros(1) for end in (negative, positive)]
    low, high = _search(ends, lambda lows, highs: affine_error(histogram, lows, highs, levels))
    return low, high


def affine_error(histogram: Histogram, lows: Array, highs: Array, levels: int) -> Array:
    """The expected squared error of the grids that `formats.affine` makes of [low, high]: (n,) -> (n,)."""
    scales = (highs - lows) / (levels - 1)
    return squared_error(histogram, scales, -np.floor(-lows / scales + 0.5), levels)


def symmetric_error(histogram: Histogram, magnitudes: Array, levels: int) -> Array:
    """The expected squared error of the signed grids that `formats.symmetric` makes: (n,) -> (n,)."""
    return squared_error(
        histogram, magnitudes / max(levels // 2 - 1, 1), np.full(len(magnitudes), -(levels // 2)), levels
    )


def squared_error(histogram: Histogram, scales: Array, first: npt.ArrayLike, levels: int) -> Array:
    """The expected squared error of rounding to the nearest of `scale * (first + j)`, 0 <= j < levels: (n,).

    The density is the histogram's, even within a bin. With M_k(a, b) the k-th moment over [a, b], the cells of
    the grid points g, the outer ones reaching to infinity, give

        E[(x - g(x))^2] = M_2 - sum_g g * (2 M_1(cell) - g M_0(cell)),

    so that one look-up of two cumulative moments per cell edge is all it takes.
    """
    points = scales[:, None] * (np.asarray(first, np.float64).reshape(-1, 1) + np.arange(levels))
    inner = (points[:, 1:] + points[:, :-1]) / 2
    edges, width = histogram.edges, histogram.width
    density = histogram.counts / (histogram.counts.sum() * width)
    zeroth = cumulative(density * width)
    first_moments = cumulative(density * (edges[1:] ** 2 - edges[:-1] ** 2) / 2)
    second_moment = float((density * (edges[1:] ** 3 - edges[:-1] ** 3)).sum() / 3)

    inside = np.clip(inner, edges[0], edges[-1])
    bins = np.minimum(((inside - edges[0]) / width).astype(np.intp), len(density) - 1)
    start = edges[bins]
    mass = zeroth[bins] + density[bins] * (inside - start)
    moment = first_moments[bins] + density[bins] * (inside - start) * (inside + start) / 2
    cell_mass = np.diff(mass, axis=1, prepend=0.0, append=zeroth[-1])
    cell_moment = np.diff(moment, axis=1, prepend=0.0, append=first_moments[-1])
    error: Array = second_moment - (points * (2 * cell_moment - points * cell_mass)).sum(axis=1)
    return error


def _search(axes: Sequence[Array], error: Callable[..., Array]) -> tuple[float, ...]:
    """The point of least error on the grid that `axes` span, refined between its neighbours along each axis."""
    best: tuple[float, ...] = ()
    least = math.inf
    for _ in range(1 + REFINEMENTS):
        candidates = [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]
        errors = error(*candidates)
        index = int(np.argmin(errors))
        if errors[index] < least:
            least = float(errors[index])
            best = tuple(float(candidate[index]) for candidate in candidates)
        axes = [_around(axis, value) for axis, value in zip(axes, best, strict=True)]
    return best


def _around(axis: Array, value: float) -> Array:
    """Points from the neighbour before `value` on an axis, over it, to the neighbour after it."""
    index = int(np.flatnonzero(axis == value)[0])
    before, after = axis[max(index - 1, 0)], axis[min(index + 1, len(axis) - 1)]
    return np.unique([np.linspace(value, before, POINTS + 1), np.linspace(value, after, POINTS + 1)])
