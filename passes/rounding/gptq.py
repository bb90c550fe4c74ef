"""Round one input after another and let those still to come make up for the error."""

from __future__ import annotations

import numpy as np

from bitsmith.passes.rounding.nearest import nearest
from bitsmith.passes.rounding.problem import Integers, Rounding

BLOCK = 64
"""Inputs whose errors reach the inputs beyond the block in one matrix product, which is where the time goes."""

FLOOR = 1e-8
"""Of H's largest diagonal element, added to each, so that float64 can factor a singular H."""


def gptq(problem: Rounding) -> Integers:
    """GPTQ (Frantar et al. 2022, arXiv:2210.17323, algorithm 1) with inputs by falling H_jj ("act-order").

    With H^-1 = U^T U, U upper triangular, input j is rounded to q_j and each later input i takes up
    -(w_j - q_j) / U_jj * U_ji (equation 3 there, after the Cholesky reformulation of section 3.3).
    Inputs whose H_jj is 0 change no output and are rounded to the nearest.
    """
    integers = nearest(problem)
    diagonal = np.diag(problem.gram)
    order = np.argsort(-diagonal, kind="stable")
    order = order[diagonal[order] > 0]
    if not len(order):
        return integers
    gram = problem.gram[np.ix_(order, order)]
    inverse = np.linalg.inv(gram + FLOOR * float(diagonal.max()) * np.eye(len(order)))
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
    weight = problem.weight[:, order]
    for start in range(0, len(order), BLOCK):
        stop = min(start + BLOCK, len(order))
        errors = np.empty((len(weight), stop - start))
        for j in range(start, stop):
            chosen = problem.round(weight[:, j] / problem.scale)
            error = (weight[:, j] - problem.scale * chosen) / upper[j, j]
            weight[:, j + 1 : stop] -= error[:, None] * upper[j, j + 1 : stop]
            errors[:, j - start] = error
            integers[:, order[j]] = chosen
        weight[:, stop:] -= errors @ upper[start:stop, stop:]
    return integers
