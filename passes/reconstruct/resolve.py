"""The real weights that give the wanted outputs on quantized inputs, as far as the data can tell."""

from __future__ import annotations

import numpy as np

from bitsmith.passes.reconstruct.moments import Moments, Reals

DAMPINGS = tuple(4.0**power for power in range(-7, 3))
"""Candidates for lambda, in units of H's mean diagonal."""


def resolve(weight: Reals, halves: tuple[Moments, Moments]) -> tuple[Reals, float]:
    """W' = W + Z (H + lambda I)^-1 with Z = cov(t, x) - W H, the damped least-squares change of W; and lambda.

    x are the quantized inputs, t the outputs of the float network, so W' makes up for errors that came before.
    lambda is the one whose change, fitted to either half of the data, errs least on the other; infinite, which
    leaves W as it is, where none does better. (Ridge regression with two-fold cross-validation; the damping that
    suits one layer overfits another.)

    weight: W, float64 (groups, rows, k). halves: the moments of two halves of the samples.
    """
    errors = np.zeros(len(DAMPINGS))
    for seen, unseen in (halves, halves[::-1]):
        wanted = seen.cross - weight @ seen.gram
        before = unseen.excess(weight).sum()
        for index, damping in enumerate(DAMPINGS):
            errors[index] += unseen.excess(weight + _change(wanted, seen.gram, damping)).sum() - before
    best = int(np.argmin(errors))
    if errors[best] >= 0:
        return weight, np.inf
    both = halves[0] + halves[1]
    return weight + _change(both.cross - weight @ both.gram, both.gram, DAMPINGS[best]), DAMPINGS[best]


def _change(wanted: Reals, gram: Reals, damping: float) -> Reals:
    """wanted (H + lambda I)^-1; lambda counts in the mean diagonal of all groups, so that dead channels stay still."""
    unit = float(np.mean(np.diagonal(gram, axis1=1, axis2=2)))
    if unit <= 0:
        return np.zeros_like(wanted)
    system = gram + damping * unit * np.eye(gram.shape[-1])
    change = np.linalg.solve(system, wanted.transpose(0, 2, 1)).transpose(0, 2, 1)
    return np.asarray(change, np.float64)
