"""Convolution with weights of 4 bits: 8 to a word, each unpacked by the instruction that selects it.

Weights are held as u = w - l above the lowest l of their output, little end first in bytes; UXTB16 takes two bytes of a
word. A byte is 16 v + u of two weights and an AND leaves u. With their inputs as H = a_v, L = 16 a_u - a_v,

    (16 v + u) H + u L = 16 (v a_v + u a_u)

What is missing is l times the sum of all inputs, taken once a pixel.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.dsp.conv import OUTPUTS
from bitsmith.backends.c.kernels.dsp.packed import Settled, Sums, Words, sums_of_bits
from bitsmith.backends.c.kernels.dsp.packed_conv import PackedConv, streamed
from bitsmith.backends.c.kernels.kernel import Site
from bitsmith.ir.integer import Conv

BITS = 4

PLACES = (0, 1, 4, 5, 2, 3, 6, 7)
"""Which of a word's inputs each weight is for, from the lowest on."""

FOUR = 4
"""Inputs that are expanded together: half of a word's."""


class DspNarrowConv(PackedConv):
    """Three pixels times two channels: 37 instructions for 48 products."""

    name: ClassVar[str] = "dsp narrow conv"
    weights: ClassVar[str] = "4_bits"
    spreads: ClassVar[bool] = False
    unit: ClassVar[int] = 4
    pixels: ClassVar[int] = 3
    group: ClassVar[int] = FOUR
    rounds: ClassVar[int] = 12
    factors: ClassVar[tuple[int, ...]] = (1, 15)
    moved: ClassVar[int] = 0
    reads: ClassVar[str] = "of two outputs each: lowest weights, starts, 8 weights a word, multipliers"
    note: ClassVar[str] = "4-bit weights, unpacked for SMLAD"

    def sums_of(self, site: Site, operation: Conv) -> Sums | str:
        return sums_of_bits(site, operation, BITS, self.unit)

    def stream(self, settled: Settled) -> Words:
        outputs, length = settled.rows.shape
        lowest = settled.rows.min(axis=1).astype(np.int64)
        fours = -(-length // FOUR)
        # A row that fills no whole words begins within its first.
        before = fours % 2 * FOUR
        above = np.zeros((-(-outputs // OUTPUTS) * OUTPUTS, before + FOUR * fours), np.int64)
        above[:outputs, before : before + length] = settled.rows - lowest[:, None]
        fields = above.reshape(len(above), -1, 2 * FOUR)[..., PLACES]
        words = (fields << BITS * np.arange(2 * FOUR)).sum(axis=-1)
        heads = np.stack([lowest, settled.bias], axis=1) << self.unit
        pairs = words.reshape(-1, OUTPUTS, words.shape[1]).transpose(0, 2, 1)
        return streamed(heads, pairs.reshape(len(pairs), -1), settled)
