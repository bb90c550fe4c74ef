"""How weights and activations are spread over the integers that they become: for looking at, in a few bins each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.ir.blocks import blocks
from bitsmith.ir.formats import Format, IntegerArray
from bitsmith.ir.grids import Codebook, Grouped
from bitsmith.ir.integer import Conv, IntegerGraph, Linear
from bitsmith.ir.statistics import Histogram, Statistics

Rows = npt.NDArray[np.floating[Any]]
Counts = tuple[int, ...]

BINS = 64
"""Bins of a spread, at most; and levels of a grid that are told one by one."""

FINEST = 0.25
"""Of a step, the width of the narrowest bins."""

REACH = 4.0
"""How many times as far as its grid a spread goes on: reals beyond it are counted in the outermost bins."""


@dataclass(frozen=True)
class Spread:
    """Counts in equal bins along the integers of a grid, whatever scale each channel has.

    first:   where the first bin begins, in steps of the grid. width: of a bin, in steps.
    lowest, highest: the ends of the grid.
    real:    elements in float, each divided by its scale; empty where they are not known.
    stored:  the integers they became; empty for activations.
    levels:  the integers that there are, where they are few; else empty, and all from lowest to highest are.
    """

    first: float
    width: float
    lowest: int
    highest: int
    real: Counts = ()
    stored: Counts = ()
    levels: Counts = ()

    def to_json(self) -> dict[str, Any]:
        """All of it, under the names of the fields."""
        return {
            "first": self.first,
            "width": self.width,
            "lowest": self.lowest,
            "highest": self.highest,
            "real": list(self.real),
            "stored": list(self.stored),
            "levels": list(self.levels),
        }


@dataclass(frozen=True)
class Spreads:
    """weights: by operation. activations: by value."""

    weights: Mapping[str, Spread]
    activations: Mapping[str, Spread]

    def to_json(self) -> dict[str, Any]:
        """As the manifest holds them."""
        return {
            "weights": {name: one.to_json() for name, one in self.weights.items()},
            "activations": {name: one.to_json() for name, one in self.activations.items()},
        }


def spreads(graph: IntegerGraph, statistics: Statistics | None, real: Mapping[str, Rows]) -> Spreads:
    """Of all weights of a graph, and of those of its values that statistics were taken of.

    real: by operation, its weights in float, (channels, inputs), where they are known.
    """
    weights = {
        one.name: of_weights(one.weight, one.weight_format, real.get(one.name))
        for one in graph
        if isinstance(one, Conv | Linear)
    }
    seen = {} if statistics is None else {name: one.histogram for name, one in statistics.values.items()}
    return Spreads(
        weights,
        {
            name: of_activations(histogram, graph.values[name].format)
            for name, histogram in seen.items()
            if histogram is not None and name in graph.values and graph.values[name].format.base is None
        },
    )


def of_weights(stored: IntegerArray, chosen: Format, real: Rows | None) -> Spread:
    """The spread of weights (channels, ...), in codes where groups of them have multipliers.

    real: what they were before rounding, (channels, inputs); left out where that is not of the same shape.
    """
    integers = stored.reshape(len(stored), -1)
    known = real if real is not None and real.shape == integers.shape else None
    scale = np.broadcast_to(np.reshape(chosen.scale, (-1, 1)), (len(integers), 1))
    unit = chosen.grid.spread(integers.shape[1]) if isinstance(chosen.grid, Grouped) else np.ones((len(integers), 1))
    lowest, highest, levels = _grid(chosen)
    parts = list(blocks(len(integers), integers.size))
    ends = [float(lowest), float(highest)]
    if known is not None:
        for part in parts:
            steps = known[part] / (scale[part] * unit[part])
            ends += [float(steps.min()), float(steps.max())]
    first, width = _bins(_held(min(ends), lowest, highest), _held(max(ends), lowest, highest))
    counts, before = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    for part in parts:
        counts += _counts(integers[part] / unit[part], first, width)
        if known is not None:
            before += _counts(known[part] / (scale[part] * unit[part]), first, width)
    return Spread(first, width, lowest, highest, _trimmed(before), _trimmed(counts), levels)


def of_activations(histogram: Histogram, chosen: Format) -> Spread:
    """The spread of what calibration saw of a value, its bins joined until they are few."""
    joined = -(-len(histogram.counts) // BINS)
    counts = np.pad(histogram.counts, (0, -len(histogram.counts) % joined)).reshape(-1, joined).sum(axis=1)
    lowest, highest, levels = _grid(chosen)
    return Spread(
        round(histogram.lowest / chosen.scale[0] + chosen.zero_point, 6),
        round(joined * histogram.width / chosen.scale[0], 6),
        lowest,
        highest,
        tuple(counts.tolist()),
        levels=levels,
    )


def _grid(chosen: Format) -> tuple[int, int, Counts]:
    """The ends of a format's grid, and its levels where they are few."""
    match chosen.grid:
        case Codebook() as book:
            levels = sorted({level for row in book.rows for level in row})
            return levels[0], levels[-1], tuple(levels) if len(levels) <= BINS else ()
        case Grouped() as grouped:
            lowest, highest = -grouped.code, grouped.code
        case None:
            lowest, highest = chosen.type.lowest, chosen.type.highest
    every = range(lowest, highest + 1)
    return lowest, highest, tuple(every) if len(every) <= BINS else ()


def _held(end: float, lowest: int, highest: int) -> float:
    """An end no further from the grid than `REACH` says."""
    reach = REACH * max(-lowest, highest, 1)
    return min(max(end, -reach), reach)


def _bins(lowest: float, highest: float) -> tuple[float, float]:
    """Where bins begin and how wide they are: a power of two, integers in the middle of theirs if that is their own."""
    width = FINEST
    while True:
        inset = min(width, 1.0) / 2
        first, last = math.floor((lowest + inset) / width), math.floor((highest + inset) / width)
        if last - first < BINS:
            return first * width - inset, width
        width *= 2


def _counts(steps: Rows, first: float, width: float) -> npt.NDArray[np.int64]:
    """Elements in each bin, those outside in the outermost."""
    index = np.clip(np.floor((steps - first) / width), 0, BINS - 1).astype(np.int64)
    return np.bincount(index.ravel(), minlength=BINS)


def _trimmed(counts: npt.NDArray[np.int64]) -> Counts:
    """Up to the last bin that has any."""
    return tuple(np.trim_zeros(counts, "b").tolist())
