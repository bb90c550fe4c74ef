"""Round by coordinate descent."""

from __future__ import annotations

import numpy as np

from bitsmith.passes.rounding.problem import BLOCK, Reals, Rounding

MOST_SWEEPS = 30
"""Descent mostly ends by itself within ten sweeps; this bounds the time where it does not."""


def comq(problem: Rounding) -> Reals:
    """Coordinate descent from the nearest integers (COMQ; Zhang et al. 2024, arXiv:2403.07134, section 3)."""
    return descend(problem, problem.nearest(), MOST_SWEEPS)


def descend(problem: Rounding, start: Reals, sweeps: int) -> Reals:
    """Integers that no change of a single one improves, or those after so many sweeps; never worse than `start`.

    With the error e = w - s*v and G = e H, the best v_j with all others fixed is the one nearest to
    v_j + G_j / (s H_jj), because the loss is a parabola in it (arXiv:2403.07134, equation 5). One sweep visits the
    inputs by falling H_jj, all rows at once; what a block of inputs changes in G beyond it, one product adds.
    """
    order = problem.order()
    gram, scale = problem.gram[:, order][:, :, order], problem.scale
    diagonal = np.diagonal(gram, axis1=1, axis2=2)
    curvature = scale * np.where(diagonal > 0, diagonal, np.inf).T[:, :, None]
    # Columns side by side in memory: each is read and written whole.
    integers = np.ascontiguousarray(start.transpose(2, 0, 1)[order])
    slope = np.ascontiguousarray((problem.error(start)[:, :, order] @ gram).transpose(2, 0, 1))
    for _ in range(sweeps):
        moved = False
        for first in range(0, len(order), BLOCK):
            block = slice(first, first + BLOCK)
            inside = slope[block].copy()
            changes = np.zeros_like(inside)
            for here, inputs in enumerate(order[block]):
                j = first + here
                best = problem.levels.nearest(integers[j] + inside[here] / curvature[j], int(inputs))
                change = scale * (best - integers[j])
                if change.any():
                    inside -= change * gram[:, j, block].T[:, :, None]
                    integers[j], changes[here] = best, change
            if changes.any():
                moved = True
                slope -= np.matmul(changes.transpose(1, 2, 0), gram[:, block]).transpose(2, 0, 1)
        if not moved:
            break
    return integers[np.argsort(order)].transpose(1, 2, 0)
