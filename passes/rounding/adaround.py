"""Decide between rounding down and up for all weights at once, by a relaxation."""

from __future__ import annotations

import numpy as np

from bitsmith.passes.rounding.problem import Reals, Rounding

STEPS = 300
WARM_UP = 0.2
"""Part of the steps in which nothing draws the choices towards 0 or 1 yet."""

SHARPEST, BLUNTEST = 2.0, 20.0
MOMENTUM = 0.9
PULL = 0.6
"""Of the regulariser, relative to the curvature along each weight."""


def adaround(problem: Rounding) -> Reals:
    """AdaRound (Nagel et al. 2020, arXiv:2004.10568, equations 21 to 24) by projected gradient on the second moments.

    A choice h in [0, 1] between the integers below and above each weight descends along the gradient of
    (w - s v) H (w - s v)^T + pull * (1 - |2 h - 1|^beta), beta falling from 20 to 2, and is clipped to [0, 1] after
    each step, which takes the place of the paper's rectified sigmoid. The gradient of the first part is a product
    with H. Steps are the inverse of the largest curvature, with momentum.
    """
    below, above = problem.levels.around(problem.steps)
    scale = problem.scale[:, :, None]
    gap = above - below
    choice = np.clip((problem.steps - below) / gap, 0.0, 1.0)
    reach = np.linalg.eigvalsh(problem.gram)[:, -1]
    curvature = 2 * np.where(reach > 0, reach, 1.0)[:, None, None] * (scale * gap) ** 2
    ahead, before = choice, choice
    for step in range(STEPS):
        progress = step / STEPS
        error = problem.error(below + ahead * gap)
        slope = -2 * (error @ problem.gram) * scale * gap
        if progress > WARM_UP:
            beta = SHARPEST + (BLUNTEST - SHARPEST) * (1 - (progress - WARM_UP) / (1 - WARM_UP))
            centred = 2 * ahead - 1
            slope -= PULL * curvature * 2 * beta * np.sign(centred) * np.abs(centred) ** (beta - 1) / BLUNTEST
        before, choice = choice, np.clip(ahead - slope / curvature, 0.0, 1.0)
        ahead = choice + MOMENTUM * (choice - before)
    return np.where(choice >= 0.5, above, below)
