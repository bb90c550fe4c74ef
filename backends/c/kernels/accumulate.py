"""The bias of a sum of products, with the zero point of its input folded in where int32 allows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.kernel import Constant, Site
from bitsmith.ir.bounds import INT32_MAGNITUDE
from bitsmith.ir.formats import IntegerArray


@dataclass(frozen=True, eq=False)
class Bias:
    """What the accumulator starts from.

    zero_point: what the inner loop takes off every input; 0 where it is in the bias.
    padding:    the element that stands for 0.0: the zero point of the input.
    constant:   int32, one per output.
    """

    zero_point: int
    padding: int
    constant: Constant


def bias(site: Site, rows: IntegerArray, given: npt.NDArray[np.int32]) -> Bias:
    """The bias of rows of weights, (outputs, inputs).

    `sum w (x - z) = sum w x - z sum w`: the last term is known now, where padding counts as z. The sums of w x alone
    grow larger than the bound of the accumulator says, so this is done only where they too stay within 32 bits.
    """
    z = site.x.zero_point
    wide = rows.astype(np.int64)
    folded = given.astype(np.int64) - z * wide.sum(axis=1)
    reach = np.abs(wide).sum(axis=1) * max(site.ranges[0].magnitude, abs(z)) + np.abs(folded)
    if int(reach.max()) <= INT32_MAGNITUDE:
        comment = f"less {z} times the sum of the output's weights" if z else ""
        return Bias(0, z, Constant("bias", "int32_t", folded, comment))
    return Bias(z, z, Constant("bias", "int32_t", given))
