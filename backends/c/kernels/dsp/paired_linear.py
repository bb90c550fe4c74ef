"""Linear with weights of 2 bits, two outputs a product."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.dsp.linear_rows import PackedLinear, streamed
from bitsmith.backends.c.kernels.dsp.packed import UNIT, Settled, Sums, Words, sums_of_bits
from bitsmith.backends.c.kernels.dsp.paired import BITS, MOVED, paired
from bitsmith.backends.c.kernels.kernel import Site
from bitsmith.ir.integer import Linear


class DspPairedLinear(PackedLinear):
    """Two pairs of rows at a time: 42 instructions for 64 products."""

    name: ClassVar[str] = "dsp paired linear"
    weights: ClassVar[str] = "2_bits"
    spreads: ClassVar[bool] = True
    unit: ClassVar[int] = UNIT
    sums: ClassVar[int] = 1
    filling: ClassVar[int] = -MOVED
    reads: ClassVar[str] = "of four outputs each: lowest weights, starts, 16 weights a word, multipliers"
    note: ClassVar[str] = "2-bit weights, each product for two outputs"

    def sums_of(self, site: Site, operation: Linear) -> Sums | str:
        return sums_of_bits(site, operation, BITS, self.unit)

    def stream(self, settled: Settled) -> Words:
        heads, words = paired(settled)
        blocks = np.pad(words, ((0, len(words) % 2), (0, 0))).reshape(-1, 2, words.shape[1]).transpose(0, 2, 1)
        return streamed(heads, blocks.reshape(len(blocks), -1), settled)
