"""A histogram of values whose range is not known beforehand, in constant memory and one pass."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bitsmith.ir.statistics import Histogram

SMALLEST_EXPONENT = -126
"""Of the bin width: the least normal power of two in float32, so that its inverse is a float32 too."""

CHUNK = 1 << 16
"""Elements counted at a time: with their scaled copy and their indices they stay in a core's cache."""


class StreamingHistogram:
    """Counts float32 elements in at most `bins` bins, whose width doubles whenever the range outgrows them.

    Bin i counts the elements in [i*w, (i+1)*w), with w a power of two. So 0.0 is always an edge, x/w is exact, and
    doubling w moves the counts of bin i to bin floor(i/2), exactly: the outcome is that of one pass over all
    elements with the final w known, however they were split into batches. The bins always span 0.0.
    """

    def __init__(self, bins: int) -> None:
        self._exponent = SMALLEST_EXPONENT
        self._first = 0
        self._counts = np.zeros(bins, np.int64)
        self._lowest = 0.0
        self._highest = 0.0

    def add(self, elements: npt.NDArray[np.float32], lowest: float, highest: float) -> None:
        """Count `elements` (n,), all of which are finite and lie in [lowest, highest]."""
        self._cover(min(self._lowest, lowest), max(self._highest, highest))
        inverse_width = np.float32(2.0**-self._exponent)
        first = np.float32(self._first)
        scaled = np.empty(min(CHUNK, elements.size), np.float32)
        index = np.empty(scaled.size, np.int32)
        for start in range(0, elements.size, CHUNK):
            chunk = elements[start : start + CHUNK]
            # Floor before the shift: integers of this size are exact in float32, fractions that are moved are not.
            part = np.multiply(chunk, inverse_width, out=scaled[: chunk.size])
            np.subtract(np.floor(part, out=part), first, out=part)
            index[: chunk.size] = part
            self._counts += np.bincount(index[: chunk.size], minlength=self._counts.size)

    def result(self) -> Histogram:
        """What was counted, without the bins beyond the range seen."""
        width = 2.0**self._exponent
        used = math.floor(self._highest / width) - self._first + 1
        return Histogram(self._counts[:used].copy(), self._first * width, (self._first + used) * width)

    def _cover(self, lowest: float, highest: float) -> None:
        """Widen and move the bins until they span [lowest, highest]."""
        if self._lowest <= lowest and highest <= self._highest:
            return
        self._lowest, self._highest = lowest, highest
        # Fewer than `bins` widths cannot hold the range, so this is never more than is needed.
        exponent = max(self._exponent, math.frexp((highest - lowest) / self._counts.size)[1] - 1)
        while math.floor(highest / 2.0**exponent) - math.floor(lowest / 2.0**exponent) >= self._counts.size:
            exponent += 1
        first = math.floor(lowest / 2.0**exponent)
        filled = np.flatnonzero(self._counts)
        # numpy shifts by at most 63 places, which leaves of any index the same -1 or 0 as more would.
        moved = ((filled + self._first) >> min(exponent - self._exponent, 63)) - first
        counts = np.zeros_like(self._counts)
        np.add.at(counts, moved, self._counts[filled])
        self._exponent, self._first, self._counts = exponent, first, counts
