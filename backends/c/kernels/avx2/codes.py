"""Weights of sixteen levels, whatever integers they are, as codes of four bits.

VPSHUFB looks thirty-two codes up in a table of sixteen bytes: a codebook costs no more than integers that are packed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.avx2.panels import LANES, Gemm, padded
from bitsmith.backends.c.kernels.kernel import Constant

LEVELS = 16


@dataclass(frozen=True, eq=False)
class Codes:
    """levels: int64, ascending. codes: of weights, (outputs, length)."""

    levels: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int64]

    @property
    def table(self) -> Constant:
        """The levels, as VPSHUFB takes them."""
        return Constant("levels", "int8_t", padded(self.levels, LEVELS), "of weights, by their codes", alignment=16)

    def packed(self, depth: int, group: int) -> Constant:
        """Blocks of sixteen outputs, (blocks, depth / 2 groups, outputs, group): two groups a byte, little end first.

        group: neighbouring weights of an output.
        """
        filled = padded(np.pad(self.codes, ((0, 0), (0, depth - self.codes.shape[1]))), LANES)
        groups = filled.reshape(-1, LANES, depth // (2 * group), 2, group).transpose(0, 2, 3, 1, 4)
        comment = f"codes of sixteen outputs at a time: {group} of each, and above them the next {group}"
        return Constant("weight", "uint8_t", groups[:, :, 0] | groups[:, :, 1] << 4, comment, alignment=32)


def codes(gemm: Gemm) -> Codes | None:
    """The codes of an operation's weights; None where they have more than sixteen levels, or such as pass 8 bits."""
    levels, found = np.unique(gemm.rows, return_inverse=True)
    if len(levels) > LEVELS or levels[0] < -128 or levels[-1] > 127:
        return None
    return Codes(levels.astype(np.int64), found.reshape(gemm.rows.shape).astype(np.int64))
