"""Convolution with ternary weights, five to a byte: their prefixes are multiplied, which takes no digit apart.

Let P_i be the first i digits of five to base 3, as a number, so that digit d_i = P_i - 3 P_(i-1). Then

    d_1 x_1 + ... + d_5 x_5 = P_1 (x_1 - 3 x_2) + ... + P_4 (x_4 - 3 x_5) + P_5 x_5

and P_i is what the packed byte times 3^i has above its lowest eight bits, which UXTB16 leaves of two bytes at once.
Times 243 a byte still fits the 16 bits of its half, so each digit of two bytes takes one addition, one UXTB16, and one
SMLAD a pixel. A digit is 1 more than its weight: the sum of all inputs is taken off once a pixel.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels import trits
from bitsmith.backends.c.kernels.dsp.packed import UNIT, Settled, Sums, sums
from bitsmith.backends.c.kernels.dsp.packed_conv import PackedConv
from bitsmith.backends.c.kernels.kernel import Site
from bitsmith.ir.integer import Conv, Linear

GROUP = 2 * trits.PER_BYTE
"""Inputs of two bytes of weights."""

INPUTS = (0, 1, 4, 5, 8, 2, 3, 6, 7, 9)
"""Of a group, those of the first byte and those of the second: what masks leave of four bytes are pairs of them."""

MOVED = 128
"""What inputs are moved by, so that they have no sign."""

FACTORS = (-2, -2, -2, -2, 1)
"""What is multiplied, where all inputs are 1."""

Wide = npt.NDArray[np.int64]


def sums_of_trits(site: Site, operation: Conv | Linear, unit: int) -> Sums | str:
    """The sums of an operation whose weights are ternary, 2^unit times those of products when they are rescaled."""
    if not trits.is_ternary(operation.weight_format):
        return "its weights are not ternary"
    return sums(site, operation, unit)


def bytes_of(settled: Settled) -> tuple[Wide, Wide]:
    """What each output starts from, and its weights, (outputs, groups, 2 bytes)."""
    outputs, inputs = settled.rows.shape
    filled = np.pad(settled.rows, ((0, 0), (0, -inputs % GROUP))).reshape(outputs, -1, GROUP)[..., INPUTS]
    packed = trits.pack(filled.reshape(outputs, -1)).reshape(outputs, -1, 2).astype(np.int64)
    return settled.bias - MOVED * settled.rows.sum(axis=1), packed


class DspTernaryConv(PackedConv):
    """Five pixels times one channel: 43 instructions for 50 products."""

    name: ClassVar[str] = "dsp ternary conv"
    weights: ClassVar[str] = "trits"
    spreads: ClassVar[bool] = False
    unit: ClassVar[int] = UNIT
    together: ClassVar[int] = 1
    pixels: ClassVar[int] = 5
    group: ClassVar[int] = GROUP
    rounds: ClassVar[int] = 4
    factors: ClassVar[tuple[int, ...]] = FACTORS
    moved: ClassVar[int] = MOVED
    ctype: ClassVar[str] = "uint16_t"
    reads: ClassVar[str] = "of each output: start, ten weights a number, multiplier, the lower halves of words first"
    note: ClassVar[str] = "ternary weights, five to a byte"

    def sums_of(self, site: Site, operation: Conv) -> Sums | str:
        return sums_of_trits(site, operation, self.unit)

    def stream(self, settled: Settled) -> npt.NDArray[np.uint16]:
        start, packed = bytes_of(settled)
        halves = [start & 0xFFFF, start >> 16 & 0xFFFF, settled.multiplier & 0xFFFF, settled.multiplier >> 16]
        rows = np.insert(np.stack(halves, axis=1), [2], packed[..., 0] | packed[..., 1] << 8, axis=1)
        return rows[::-1].astype(np.uint16).reshape(-1)
