"""The problem that every way of rounding weights solves, better or worse."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bitsmith.passes.rounding.levels import Levels

Reals = npt.NDArray[np.float64]

BLOCK = 64
"""Inputs that solvers visit one by one before one matrix product takes what changed to all others."""


@dataclass(frozen=True, eq=False)
class Rounding:
    """Minimise (w - s*v) H (w - s*v)^T for each row w, over the integers v that its levels allow.

    With H the mean of x x^T that is the mean squared error of the outputs w x (Frantar et al. 2022,
    arXiv:2210.17323, equation 1), so rows do not depend on each other. Groups (of a convolution) have an H each.

    weight: float64 (groups, rows, k). gram: H, float64 (groups, k, k), symmetric and positive semidefinite.
    scale:  s, float64 (groups, rows), positive. levels: which integers v may be.
    """

    weight: Reals
    gram: Reals
    scale: Reals
    levels: Levels

    @property
    def steps(self) -> Reals:
        """The weight in units of its scale: what v comes near to."""
        return self.weight / self.scale[:, :, None]

    def order(self) -> npt.NDArray[np.intp]:
        """The inputs by falling H_jj, its mean over groups: those that matter most come first."""
        diagonal = np.diagonal(self.gram, axis1=1, axis2=2)
        return np.argsort(-diagonal.mean(axis=0), kind="stable")

    def nearest(self) -> Reals:
        """The allowed integer nearest to each weight: the optimum where H is diagonal."""
        return self.levels.nearest(self.steps)

    def error(self, integers: Reals) -> Reals:
        """w - s*v: float64 (groups, rows, k)."""
        return self.weight - self.scale[:, :, None] * integers

    def loss(self, integers: Reals) -> Reals:
        """What is minimised: float64 (groups, rows) of integers (groups, rows, k)."""
        error = self.error(integers)
        return self.products(error, error)

    def products(self, left: Reals, right: Reals) -> Reals:
        """left H right^T, row by row: float64 (groups, rows) of two of (groups, rows, k)."""
        products: Reals = np.einsum("grk,grk->gr", left @ self.gram, right)
        return products

    def damped(self, fraction: float) -> Rounding:
        """The problem with `fraction` of H's mean diagonal, over all groups, added to its diagonal.

        It keeps the errors themselves small too, so that what fits the calibration data fits other data
        (arXiv:2210.17323, section 3.3, step 3), and a channel that is nearly always 0 is rounded to the nearest.
        """
        added = fraction * float(np.mean(np.diagonal(self.gram, axis1=1, axis2=2)))
        return replace(self, gram=self.gram + added * np.eye(self.gram.shape[-1]))

    def scaled(self, scale: Reals) -> Rounding:
        """The problem under another scale."""
        return replace(self, scale=scale)

    def rows(self, part: slice) -> Rounding:
        """The problem of some of the rows."""
        return replace(self, weight=self.weight[:, part], scale=self.scale[:, part], levels=self.levels.rows(part))
