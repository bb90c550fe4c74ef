"""Weights of few levels, whatever integers they are, as codes.

VPSHUFB looks thirty-two codes of four bits up in a table of sixteen bytes: a codebook costs no more than integers that
are packed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.avx2.panels import LANES, padded
from bitsmith.backends.c.kernels.kernel import Constant
from bitsmith.ir.formats import IntegerArray

TABLE = 16

Wide = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Codes:
    """Weights as codes of levels.

    levels: ascending. codes: of which each weight is, (outputs, length).
    base:   by output, what is to be added to the level; None where levels are the weights themselves.
    """

    levels: Wide
    codes: Wide
    base: Wide | None

    @property
    def weights(self) -> Wide:
        """What is looked up, (outputs, length): the weights less the base."""
        return self.levels[self.codes]

    @property
    def table(self) -> Constant:
        """The levels, as VPSHUFB takes them."""
        return Constant("levels", "int8_t", padded(self.levels, TABLE), "of weights, by their codes", alignment=TABLE)

    def bases(self, lanes: int) -> tuple[Constant, ...]:
        """The constant of bases, for blocks of outputs, if there are any."""
        if self.base is None:
            return ()
        return (Constant("base", "int32_t", padded(self.base, lanes), "what an output's weights have in common"),)

    def packed(self, depth: int, group: int) -> Constant:
        """Blocks of sixteen outputs, (blocks, depth / 2 groups, outputs, group): two groups a byte, little end first.

        group: neighbouring weights of an output.
        """
        filled = padded(np.pad(self.codes, ((0, 0), (0, depth - self.codes.shape[1]))), LANES)
        groups = filled.reshape(-1, LANES, depth // (2 * group), 2, group).transpose(0, 2, 3, 1, 4)
        comment = f"codes of sixteen outputs at a time: {group} of each, and above them the next {group}"
        return Constant("weight", "uint8_t", groups[:, :, 0] | groups[:, :, 1] << 4, comment, alignment=32)


def codes(rows: IntegerArray, most: int) -> Codes | None:
    """Levels of rows of weights, about a base of each row's own where they are more than `most`; None if still so.

    Nor may a level pass 8 bits.
    """
    wide = rows.astype(np.int64)
    lowest, highest = wide.min(axis=1), wide.max(axis=1)
    for base in (None, lowest + (highest - lowest + 1) // 2):
        levels, found = np.unique(wide if base is None else wide - base[:, None], return_inverse=True)
        if len(levels) <= most and levels[0] >= -128 and levels[-1] <= 127:
            return Codes(levels, found.reshape(wide.shape).astype(np.int64), base)
    return None
