"""Second moments of a layer's quantized inputs, with themselves and with the outputs that are wanted of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError

Reals = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Moments:
    """Of a layer that reads x, the k inputs of one output element, and should give t there.

    gram:     H, the covariance of x: float64 (groups, k, k). cross: the covariance of t and x, (groups, rows, k).
    inputs:   the mean of x, (groups, k). outputs: the mean of t, (groups, rows).
    variance: of t, (groups, rows). count: how many x were seen, or their weight.
    """

    gram: Reals
    cross: Reals
    inputs: Reals
    outputs: Reals
    variance: Reals
    count: float

    def __add__(self, other: Moments) -> Moments:
        """The moments of what either has seen (Chan, Golub and LeVeque 1983, equation 2.1)."""
        count = self.count + other.count
        own, others = self.count / count, other.count / count
        dx, dt = other.inputs - self.inputs, other.outputs - self.outputs
        return Moments(
            own * self.gram + others * other.gram + own * others * dx[:, :, None] * dx[:, None, :],
            own * self.cross + others * other.cross + own * others * dt[:, :, None] * dx[:, None, :],
            self.inputs + others * dx,
            self.outputs + others * dt,
            own * self.variance + others * other.variance + own * others * dt**2,
            count,
        )

    def about_zero(self) -> Moments:
        """The same about 0 in place of the means, for a layer that has no bias to move its outputs by."""
        x, t = self.inputs, self.outputs
        return replace(
            self,
            gram=self.gram + x[:, :, None] * x[:, None, :],
            cross=self.cross + t[:, :, None] * x[:, None, :],
            variance=self.variance + t**2,
            inputs=np.zeros_like(x),
            outputs=np.zeros_like(t),
        )

    def excess(self, weight: Reals) -> Reals:
        """E |t - w x|^2 less the variance of t, with means taken out by a bias: (groups, rows) of (groups, rows, k)."""
        error: Reals = np.einsum("grk,grk->gr", weight @ self.gram - 2 * self.cross, weight)
        return error


class StreamingMoments:
    """Moments updated part by part, by sums shifted close to the means, so that float32 products lose little."""

    def __init__(self) -> None:
        self._shift: tuple[FloatArray, FloatArray] | None = None
        self._gram: Reals = np.zeros(())
        self._cross: Reals = np.zeros(())
        self._variance: Reals = np.zeros(())
        self._x: Reals = np.zeros(())
        self._t: Reals = np.zeros(())
        self._count = 0.0

    def add(self, x: FloatArray, t: FloatArray, weight: FloatArray | None = None) -> None:
        """Take in x (groups, n, k), which is overwritten, and t (groups, n, rows), each of the n by its weight."""
        if self._shift is None:
            self._shift = x.mean(axis=1, keepdims=True), t.mean(axis=1, keepdims=True)
        np.subtract(x, self._shift[0], out=x)
        t = t - self._shift[1]
        if weight is not None:
            root = np.sqrt(weight)[:, None]
            x *= root
            t *= root
        else:
            root = np.ones((x.shape[1], 1), np.float32)
        # A product of a matrix with its own transpose takes half the work; numpy sees it in two dimensions only.
        self._gram = self._gram + (np.matmul(x.transpose(0, 2, 1), x) if len(x) > 1 else (x[0].T @ x[0])[None])
        self._cross = self._cross + np.matmul(t.transpose(0, 2, 1), x)
        self._variance = self._variance + np.einsum("gnr,gnr->gr", t, t)
        self._x = self._x + np.matmul(root.T, x)[:, 0]
        self._t = self._t + np.matmul(root.T, t)[:, 0]
        self._count += float(np.vdot(root, root))

    def result(self) -> Moments:
        """The moments of all that was taken in."""
        if self._shift is None:
            raise InternalError("second moments of nothing")
        x, t = self._x / self._count, self._t / self._count
        return Moments(
            self._gram / self._count - x[:, :, None] * x[:, None, :],
            self._cross / self._count - t[:, :, None] * x[:, None, :],
            self._shift[0][:, 0] + x,
            self._shift[1][:, 0] + t,
            self._variance / self._count - t**2,
            self._count,
        )
