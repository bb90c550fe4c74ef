"""Linear with weights of 2 bits: one product of two 16-bit numbers serves two outputs.

Of an input, let u be the weight of one output above that output's lowest, 0 to 3, and v the weight of the next output
above two more than its lowest, -2 to 1. With the input moved to x, 0 to 255,

    (2^14 v + u) 4 x = 2^16 v x + 4 u x

so the halves of a sum of such products are the sums of two outputs, as long as the lower one does not pass 16 bits:
sixteen times 4 * 3 * 255 does not. SMLAD adds two products; after sixteen inputs each half goes to its output.

A word holds the weights of eight inputs and two outputs. Of the word turned by 0, 4, 8 and 12 bits, the mask 0xC003C003
leaves those of two inputs in their places: sixteen weights take four ANDs and four SMLADs.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.dsp.linear_rows import PackedLinear, above_lowest, filled, streamed
from bitsmith.backends.c.kernels.dsp.packed import UNIT, Settled, Words

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


class DspPairedLinear(PackedLinear):
    """Two pairs of rows at a time: 42 instructions for 64 products."""

    name: ClassVar[str] = "dsp paired linear"
    bits: ClassVar[int] = 2
    unit: ClassVar[int] = UNIT
    sums: ClassVar[int] = 1
    filling: ClassVar[int] = -MOVED
    note: ClassVar[str] = "2-bit weights, each product for two outputs"

    def stream(self, settled: Settled) -> Words:
        inputs = settled.rows.shape[1]
        lowest, above = above_lowest(settled)
        start = settled.bias - MOVED * settled.rows.sum(axis=1)
        there = (np.arange(above[0].size) < inputs).astype(np.int64).reshape(above.shape[1:])
        above[1::2] -= MIDDLE * there
        lowest[1::2] += MIDDLE
        heads = np.stack([lowest, start], axis=1)
        heads[0::2] *= FACTOR
        # Pairs of outputs: (blocks, groups, pairs, 2, GROUP).
        pairs = filled(above).transpose(0, 2, 1, 3).reshape(-1, above.shape[1], 2, 2, above.shape[2])
        words = np.zeros(pairs.shape[:3], np.int64)
        for turn, (low, high) in enumerate(INPUTS):
            for place, (output, number) in zip(
                (0, 14, 16, 30), ((0, low), (1, low), (0, high), (1, high)), strict=True
            ):
                words |= (pairs[..., output, number] & 3) << (place + TURN * turn) % 32
        return streamed(heads, words.reshape(len(words), -1), settled)
