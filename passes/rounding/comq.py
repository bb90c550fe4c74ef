"""Round by coordinate descent."""

from __future__ import annotations

import numpy as np

from bitsmith.passes.rounding.nearest import nearest
from bitsmith.passes.rounding.problem import Integers, Rounding

MOST_SWEEPS = 30
"""Descent mostly ends by itself within ten sweeps; this bounds the time where it does not."""


def comq(problem: Rounding) -> Integers:
    """Coordinate descent from the nearest integers (COMQ; Zhang et al. 2024, arXiv:2403.07134, section 3).

    With the error e = w - s*v and G = e H, the best v_j with all others fixed is v_j + G_j / (s H_jj), rounded
    and clipped, because the loss is a parabola in it. One sweep visits the inputs by falling H_jj, all rows at
    once. It ends at integers that no change of a single one improves, or after `MOST_SWEEPS`.
    """
    gram, scale = problem.gram, problem.scale
    diagonal = np.diag(gram)
    order = [int(j) for j in np.argsort(-diagonal, kind="stable") if diagonal[j] > 0]
    integers = nearest(problem)
    slope = (problem.weight - scale[:, None] * integers) @ gram
    for _ in range(MOST_SWEEPS):
        before = integers.copy()
        for j in order:
            best = problem.round(integers[:, j] + slope[:, j] / (scale * diagonal[j]))
            rows = np.flatnonzero(best != integers[:, j])
            if len(rows):
                moved = scale[rows] * (best[rows] - integers[rows, j])
                slope[rows] -= moved[:, None] * gram[j]
                integers[rows, j] = best[rows]
        if np.array_equal(integers, before):
            break
    return integers
