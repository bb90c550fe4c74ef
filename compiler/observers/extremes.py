"""Ranges that ask only how much of the data they leave outside."""

from __future__ import annotations

import numpy as np

from bitsmith.ir.statistics import ValueStatistics
from bitsmith.observers.cumulative import cumulative

KEPT = 0.9999
"""The part of all elements that `percentile` keeps; half of the others lie below its range, half above."""


def min_max(statistics: ValueStatistics, levels: int, symmetric: bool) -> tuple[float, float]:
    """All that was seen: nothing is clipped."""
    return statistics.minimum, statistics.maximum


def percentile(statistics: ValueStatistics, levels: int, symmetric: bool) -> tuple[float, float]:
    """The middle 99.99 % of all elements, as if each bin's were spread evenly over it.

    Wu et al. 2020 (arXiv:2004.09602, section 3.4) compare percentiles from 99.9 to 99.9999, theirs of |x|.
    """
    histogram = statistics.require_histogram()
    tail = (1 - KEPT) / 2
    below = cumulative(histogram.counts) / histogram.counts.sum()
    ends = np.interp([tail, 1 - tail], below, histogram.edges)
    lowest, highest = np.clip(ends, statistics.minimum, statistics.maximum)
    return float(lowest), float(highest)
