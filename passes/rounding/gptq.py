"""Round one input after another and let those still to come make up for the error."""

from __future__ import annotations

import numpy as np

from bitsmith.passes.rounding.problem import BLOCK, Reals, Rounding

FLOOR = 1e-8
"""Of H's largest diagonal element, added to each, so that float64 can factor a singular H."""


def gptq(problem: Rounding) -> Reals:
    """GPTQ (Frantar et al. 2022, arXiv:2210.17323, algorithm 1) with inputs by falling H_jj ("act-order").

    With H^-1 = U^T U, U upper triangular, input j is rounded to q_j and each later input i takes up
    -(w_j - q_j) / U_jj * U_ji (equation 3 there, after the Cholesky reformulation of section 3.3).
    """
    diagonal = np.diagonal(problem.gram, axis1=1, axis2=2)
    if not diagonal.any():
        return problem.nearest()
    order = problem.order()
    gram, scale = problem.gram[:, order][:, :, order], problem.scale
    inverse = np.linalg.inv(gram + FLOOR * float(diagonal.max()) * np.eye(len(order)))
    upper = np.linalg.cholesky((inverse + inverse.transpose(0, 2, 1)) / 2).transpose(0, 2, 1)
    # Columns side by side in memory: each is read and written whole.
    weight = np.ascontiguousarray(problem.weight.transpose(2, 0, 1)[order])
    integers = np.empty_like(weight)
    for first in range(0, len(order), BLOCK):
        block = slice(first, first + BLOCK)
        inside, errors = weight[block], np.empty_like(weight[block])
        for here, inputs in enumerate(order[block]):
            j = first + here
            integers[j] = problem.levels.nearest(inside[here] / scale, int(inputs))
            errors[here] = (inside[here] - scale * integers[j]) / upper[:, j, j, None]
            inside[here + 1 :] -= errors[here] * upper[:, j, block].T[here + 1 :, :, None]
        rest = slice(first + BLOCK, None)
        weight[rest] -= np.matmul(errors.transpose(1, 2, 0), upper[:, block, rest]).transpose(2, 0, 1)
    return integers[np.argsort(order)].transpose(1, 2, 0)
