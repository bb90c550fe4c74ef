"""The range whose grid keeps the most information, by Kullback-Leibler divergence."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bitsmith.ir.statistics import ValueStatistics
from bitsmith.observers.cumulative import cumulative

Array = npt.NDArray[np.float64]

CANDIDATES = 512
"""How many thresholds are tried at most."""


def kl(statistics: ValueStatistics, levels: int, symmetric: bool) -> tuple[float, float]:
    """The threshold T that minimises KL(P || Q), with P the clipped values and Q what integers leave of them.

    Migacz 2017, "8-bit inference with TensorRT" (GTC talk S7310, entropy calibration): P puts all that lies beyond
    T into the outermost bins; Q is made from the bins within T alone, which are merged into as many as there are
    levels and then spread evenly over those of them that were not empty. As in NVIDIA's pytorch-quantization, the zeros
    that a Relu makes, which every grid holds exactly, do not count: their bin is cut to the height of the next.

    The range is [-T, T], cut to what was seen. Where not even all bins are as many as the levels, there is nothing
    to merge, and the range is all that was seen.
    """
    histogram = statistics.require_histogram()
    zero = round(-histogram.lowest / histogram.width)
    counts = histogram.counts.copy()
    beside = [counts[index] for index in (zero - 1, zero + 1) if 0 <= index < len(counts)]
    counts[zero] = min(counts[zero], max(beside, default=0))
    below, above = zero, len(counts) - zero
    if symmetric and below:
        reach = max(below, above)
        counts, below, above, zero = np.pad(counts, (reach - below, reach - above)), reach, reach, reach
    thresholds = np.unique(np.linspace(1, max(below, above), CANDIDATES).astype(np.int64))
    starts, stops = zero - np.minimum(thresholds, below), zero + np.minimum(thresholds, above)
    fine = stops - starts >= levels
    if not fine.any():
        return statistics.minimum, statistics.maximum
    best = int(np.argmin(divergences(counts, starts[fine], stops[fine], levels)))
    chosen = int(thresholds[fine][best]) * histogram.width
    return max(-chosen, statistics.minimum), min(chosen, statistics.maximum)


def divergences(
    counts: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64], levels: int
) -> Array:
    """KL(P || Q) in nats for each window of bins [start, stop): (n,). Each has `levels` bins or more.

    Infinite where P puts clipped values into an outermost bin that Q leaves empty. With cumulative sums of the
    counts h, of their non-zeros and of h log h, a window costs one look-up per level: within a level of sum S
    over K non-empty bins, Q = S / K, and sum h log Q = S log(S / K).
    """
    heights = counts.astype(np.float64)
    edges = starts[:, None] + np.arange(levels + 1) * (stops - starts)[:, None] // levels
    mass = cumulative(heights)
    sums = np.diff(mass[edges], axis=1)
    filled = np.diff(cumulative(np.sign(heights))[edges], axis=1)
    inside, before, after = mass[stops] - mass[starts], mass[starts], mass[-1] - mass[stops]

    information = cumulative(heights * _log(heights))
    own = information[stops] - information[starts]
    outcome = _log(sums) - _log(filled)
    cross = (sums * outcome).sum(axis=1)
    unmatched = np.zeros(len(starts), bool)
    for clipped, edge, level in ((before, heights[starts], 0), (after, heights[stops - 1], -1)):
        piled = edge + clipped
        own += piled * _log(piled) - edge * _log(edge)
        cross += clipped * outcome[:, level]
        unmatched |= (clipped > 0) & (edge == 0)
    divergence = (own - cross) / mass[-1] - _log(mass[-1:]) + _log(inside)
    return np.where(unmatched, np.inf, divergence)


def _log(x: Array) -> Array:
    """The natural logarithm of counts, with 0 for 0: every such term has the factor 0."""
    return np.log(np.maximum(x, 1.0))
