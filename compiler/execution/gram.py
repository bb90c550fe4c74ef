"""Centred second moments of what a linear layer multiplies, in one pass over the data."""

from __future__ import annotations

import numpy as np

from bitsmith.errors import InternalError
from bitsmith.execution.patches import FloatArray, patch_bytes, patch_shape, patches
from bitsmith.ir.graph import Node
from bitsmith.ir.statistics import Gram

PATCH_LIMIT = 8 << 20
"""Bytes of patches made at a time, unless those of one sample take more: they fit in a processor's cache."""


class StreamingGram:
    """The Gram matrices of one linear node, updated part by part.

    With c near the mean, and sums over rows x of S_1 = x - c and S_2 = (x - c)(x - c)^T,

        mean = c + S_1 / n,  matrix = S_2 / n - (S_1 / n)(S_1 / n)^T,

    loses no more digits than c is standard deviations away from the mean (Chan, Golub and LeVeque 1983,
    "Algorithms for computing the sample variance", section 3, shifted data). c is the mean of the first part.
    Products within a part are float32, whose rounding the shift keeps small too; parts add up in float64.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        groups, length = patch_shape(node)
        self._shift: FloatArray | None = None
        self._first = np.zeros((groups, length))
        self._second = np.zeros((groups, length, length))
        self._rows = 0

    def add(self, x: FloatArray) -> None:
        """Take in the node's input for a batch: (n, ...)."""
        step = max(1, PATCH_LIMIT // patch_bytes(self._node))
        for start in range(0, len(x), step):
            self._add(patches(self._node, x[start : start + step]))

    def result(self) -> Gram:
        """The moments of all that was taken in."""
        if self._shift is None:
            raise InternalError("second moments of nothing", where=self._node.where)
        offset = self._first / self._rows
        matrix = self._second / self._rows
        matrix -= offset[:, :, None] * offset[:, None, :]
        return Gram(matrix, self._shift[:, 0].astype(np.float64) + offset, self._rows)

    def _add(self, part: FloatArray) -> None:
        ones = np.ones((1, part.shape[1]), np.float32)
        if self._shift is None:
            self._shift = np.matmul(ones, part) / np.float32(part.shape[1])
        np.subtract(part, self._shift, out=part)
        self._first += np.matmul(ones, part)[:, 0]
        self._second += np.matmul(part.transpose(0, 2, 1), part)
        self._rows += part.shape[1]
