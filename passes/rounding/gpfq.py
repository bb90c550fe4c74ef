"""Round one input after another, each to make up for the errors of those before it."""

from __future__ import annotations

import numpy as np

from bitsmith.passes.rounding.problem import BLOCK, Reals, Rounding


def gpfq(problem: Rounding) -> Reals:
    """GPFQ (Lybrand and Saab 2021, as in Zhang, Zhou and Saab 2022, arXiv:2201.11113, equation 2), by second moments.

    Input j is rounded to the q nearest to <x_j, u + w_j x_j> / |x_j|^2, with u what is wrong with the outputs so far.
    That is w_j + sum_{i<j} (w_i - q_i) H_ij / H_jj, so no data are needed beyond H. Inputs go by falling H_jj.
    """
    order = problem.order()
    gram, scale = problem.gram[:, order][:, :, order], problem.scale
    diagonal = np.diagonal(gram, axis1=1, axis2=2)
    curvature = np.where(diagonal > 0, diagonal, np.inf).T[:, :, None]
    # Columns side by side in memory: each is read and written whole.
    weight = np.ascontiguousarray(problem.weight.transpose(2, 0, 1)[order])
    integers, wrong = np.empty_like(weight), np.zeros_like(weight)
    for first in range(0, len(order), BLOCK):
        block = slice(first, first + BLOCK)
        inside, errors = wrong[block], np.empty_like(wrong[block])
        for here, inputs in enumerate(order[block]):
            j = first + here
            wanted = weight[j] + inside[here] / curvature[j]
            integers[j] = problem.levels.nearest(wanted / scale, int(inputs))
            errors[here] = weight[j] - scale * integers[j]
            inside[here + 1 :] += errors[here] * gram[:, j, block].T[here + 1 :, :, None]
        rest = slice(first + BLOCK, None)
        wrong[rest] += np.matmul(errors.transpose(1, 2, 0), gram[:, block, rest]).transpose(2, 0, 1)
    return integers[np.argsort(order)].transpose(1, 2, 0)
