"""Codebooks by k-means in one dimension."""

from __future__ import annotations

import numpy as np

from bitsmith.ir.grids import Codebook
from bitsmith.passes.rounding.problem import Reals

ROUNDS = 50
SAMPLE = 1 << 16
"""Weights that the clusters are found on, at most, spread evenly over all."""


REACH = 127
"""The largest integer of a codebook in magnitude: kernels multiply int8."""


def clustered(weight: Reals, importance: Reals, size: int) -> Codebook:
    """`size` integers of 8 bits, near which the weights over their channel's largest one lie.

    Lloyd's algorithm on w / max|w| from evenly spaced quantiles, each weight counting by its H_jj (Han et al. 2015,
    arXiv:1510.00149, section 3; weighting by the second derivative as in Choi et al. 2016, arXiv:1612.01543, equation
    11). Centres are rounded to integers, so that products stay products of integers.

    weight: (groups, rows, k). importance: H's diagonal, (groups, k).
    """
    largest = np.abs(weight).max(axis=2, keepdims=True)
    parts = (weight / np.where(largest > 0, largest, 1.0)).ravel()
    counts = np.broadcast_to(importance[:, None, :] * largest**2, weight.shape).ravel() + 1e-30
    step = max(1, len(parts) // SAMPLE)
    order = np.argsort(parts[::step], kind="stable")
    parts, counts = parts[::step][order], counts[::step][order]
    mass, moment = (np.concatenate([[0.0], np.cumsum(one)]) for one in (counts, counts * parts))
    centres = np.quantile(parts, (np.arange(size) + 0.5) / size)
    for _ in range(ROUNDS):
        edges = np.concatenate([[0], np.searchsorted(parts, (centres[1:] + centres[:-1]) / 2), [len(parts)]])
        weights, sums = np.diff(mass[edges]), np.diff(moment[edges])
        moved = np.sort(np.where(weights > 0, sums / np.where(weights > 0, weights, 1.0), centres))
        if np.array_equal(moved, centres):
            break
        centres = moved
    spread = float(np.abs(centres).max()) or 1.0
    return Codebook((_distinct(np.rint(centres / spread * REACH), size),), "k-means")


def _distinct(integers: Reals, size: int) -> tuple[int, ...]:
    """The integers, each once; as many as `size`, with free ones nearest to 0 filling up."""
    chosen = {int(one) for one in integers}
    free = (one for one in sorted(range(-REACH, REACH + 1), key=abs) if one not in chosen)
    while len(chosen) < size:
        chosen.add(next(free))
    return tuple(sorted(chosen))
