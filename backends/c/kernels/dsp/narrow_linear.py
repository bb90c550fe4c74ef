"""Linear with weights of 4 bits: unpacking is shared by no pixels here, so a form that needs none comes first.

A 16-bit half of a word holds four weights, V = 4096 d + 256 c + 16 b + a: a, b and c above the lowest weight of their
output, and d, which gives the half its sign, 8 less. With H = x_d - 127,

    V H + (16 b + a) (256 x_b - H) + 256 c (16 x_c - H) + 256 a (16 x_a - x_b)

is 4096 (a x_a + b x_b + c x_c + d (x_d - 127)), and all four factors of inputs fit 16 bits. UXTB16 leaves 16 b + a, and
ANDs leave c, and a of the half shifted. What is missing is the lowest weight times the sum of all inputs, and 8 times
the sum of those of d.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.dsp.linear_rows import GROUP, PackedLinear, above_lowest, filled, streamed
from bitsmith.backends.c.kernels.dsp.narrow import PLACES
from bitsmith.backends.c.kernels.dsp.packed import OFFSET, Settled, Sums, Words, sums_of_bits
from bitsmith.backends.c.kernels.kernel import Site
from bitsmith.ir.integer import Linear

BITS = 4
UNIT = 12


class DspNarrowLinear(PackedLinear):
    """Four rows at a time: 31 instructions for 32 products."""

    name: ClassVar[str] = "dsp narrow linear"
    weights: ClassVar[str] = "4_bits"
    spreads: ClassVar[bool] = False
    unit: ClassVar[int] = UNIT
    sums: ClassVar[int] = 2
    filling: ClassVar[int] = 0
    reads: ClassVar[str] = "of four outputs each: lowest weights, starts, 8 weights a word, multipliers"
    note: ClassVar[str] = "4-bit weights, unpacked for SMLAD"

    def sums_of(self, site: Site, operation: Linear) -> Sums | str:
        return sums_of_bits(site, operation, BITS, self.unit)

    def stream(self, settled: Settled) -> Words:
        inputs = settled.rows.shape[1]
        lowest, above = above_lowest(settled)
        # Fields by half, each half's last with a sign.
        fields = above[..., PLACES].reshape(*above.shape[:2], 2, GROUP // 2)
        there = (np.arange(above[0].size) < inputs).astype(np.int64).reshape(-1, GROUP)
        fields[..., -1] -= there[:, PLACES].reshape(-1, 2, GROUP // 2)[..., -1] << (BITS - 1)
        start = settled.bias + OFFSET * fields[..., -1].sum(axis=(1, 2))
        halves = (fields << BITS * np.arange(GROUP // 2)).sum(axis=-1) & 0xFFFF
        words = filled(halves[..., 0] | halves[..., 1] << 16).transpose(0, 2, 1)
        return streamed(np.stack([lowest, start], axis=1) << UNIT, words.reshape(len(words), -1), settled)
