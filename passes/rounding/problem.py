"""The problem that every way of rounding weights solves, better or worse."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rounding:
    """Minimise (w - s*v) H (w - s*v)^T for each row w, over integers v in [lowest, highest].

    With H the mean of x x^T that is the mean squared error of the outputs w x (Frantar et al. 2022,
    arXiv:2210.17323, equation 1), so rows do not depend on each other.

    weight: float64 (rows, k). gram: H, float64 (k, k), symmetric and positive semidefinite.
    scale:  s, float64 (rows,), positive.
    """

    weight: Reals
    gram: Reals
    scale: Reals
    lowest: int
    highest: int

    def loss(self, integers: Integers) -> Reals:
        """What is minimised: float64 (rows,) of integers (rows, k)."""
        error = self.weight - self.scale[:, None] * integers
        loss: Reals = np.einsum("rk,rk->r", error @ self.gram, error)
        return loss

    def round(self, steps: Reals) -> Integers:
        """The integers within the bounds nearest to `steps`, which count in units of the scale; half goes up."""
        return np.clip(np.floor(steps + 0.5), self.lowest, self.highest).astype(np.int64)

    def damped(self, fraction: float) -> Rounding:
        """The problem with `fraction` of H's mean diagonal added to its diagonal.

        It keeps the errors themselves small too, so that what fits the calibration data fits other data
        (arXiv:2210.17323, section 3.3, step 3).
        """
        added = fraction * float(np.mean(np.diag(self.gram)))
        return replace(self, gram=self.gram + added * np.eye(len(self.gram)))
