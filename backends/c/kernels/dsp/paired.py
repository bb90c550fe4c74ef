"""Weights of 2 bits: one product of two 16-bit numbers serves two outputs.

Of an input, let u be the weight of one output above that output's lowest, 0 to 3, and v the weight of the next output
above two more than its lowest, -2 to 1. With the input moved to x, 0 to 255,

    (2^14 v + u) 4 x = 2^16 v x + 4 u x

so the halves of a sum of such products are the sums of two outputs, as long as the lower one does not pass 16 bits:
sixteen times 4 * 3 * 255 does not. SMLAD adds two products; after sixteen inputs each half goes to its output.

A word holds the weights of eight inputs and two outputs. Of the word turned by 0, 4, 8 and 12 bits, the mask 0xC003C003
leaves those of two inputs in their places: sixteen weights take four ANDs, and four SMLADs a column of inputs.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.dsp.packed import UNIT, Settled, Sums, Words, sums_of_bits
from bitsmith.backends.c.kernels.dsp.packed_conv import PackedConv, streamed
from bitsmith.backends.c.kernels.kernel import Site
from bitsmith.ir.integer import Conv

BITS = 2

GROUP = 8
"""Inputs of a word."""

INPUTS = ((0, 2), (1, 3), (4, 6), (5, 7))
"""Of each turn of a word, the inputs of its lower and its upper half: those that a mask leaves of four bytes."""

TURN = 4
"""Bits from each to the next."""

MIDDLE = 2
"""What a weight that stands in the upper bits of a half is counted from, above the lowest."""

FACTOR = 4
"""What the sums of outputs that stand in lower bits are times, until they are rescaled."""

MOVED = 128
"""What inputs are moved by."""

Wide = npt.NDArray[np.int64]


def paired(settled: Settled) -> tuple[Wide, Wide]:
    """What two outputs start from, (outputs, 2), and their words, (pairs, words)."""
    outputs, inputs = settled.rows.shape
    lowest = settled.rows.min(axis=1).astype(np.int64)
    lowest[1::2] += MIDDLE
    heads = np.stack([lowest, settled.bias - MOVED * settled.rows.sum(axis=1)], axis=1)
    heads[0::2] *= FACTOR
    counted = np.zeros((-(-outputs // 2) * 2, -(-inputs // GROUP) * GROUP), np.int64)
    counted[:outputs, :inputs] = settled.rows - lowest[:, None]
    pairs = counted.reshape(-1, 2, counted.shape[1] // GROUP, GROUP)
    words = np.zeros((len(pairs), pairs.shape[2]), np.int64)
    for turn, (low, high) in enumerate(INPUTS):
        for place, output, number in ((0, 0, low), (14, 1, low), (16, 0, high), (30, 1, high)):
            words |= (pairs[:, output, :, number] & 3) << (place + TURN * turn) % 32
    return heads, words


class DspPairedConv(PackedConv):
    """Two pixels times two channels: 37 instructions for 64 products."""

    name: ClassVar[str] = "dsp paired conv"
    weights: ClassVar[str] = "2_bits"
    spreads: ClassVar[bool] = True
    unit: ClassVar[int] = UNIT
    pixels: ClassVar[int] = 2
    group: ClassVar[int] = GROUP
    rounds: ClassVar[int] = 4
    factors: ClassVar[tuple[int, ...]] = (FACTOR,) * (GROUP // 2)
    moved: ClassVar[int] = MOVED
    reads: ClassVar[str] = "of two outputs each: lowest weights, starts, 16 weights a word, multipliers"
    note: ClassVar[str] = "2-bit weights, each product for two outputs"

    def sums_of(self, site: Site, operation: Conv) -> Sums | str:
        return sums_of_bits(site, operation, BITS, self.unit)

    def stream(self, settled: Settled) -> Words:
        heads, words = paired(settled)
        # Two words are read at once: the first is none where they are odd in number.
        return streamed(heads, np.pad(words, ((0, 0), (words.shape[1] % 2, 0))), settled)
