"""Linear with weights of 2 bits, two outputs a product."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.dsp.linear_rows import PackedLinear, streamed
from bitsmith.backends.c.kernels.dsp.packed import UNIT, Settled, Words
from bitsmith.backends.c.kernels.dsp.paired import MOVED, paired


class DspPairedLinear(PackedLinear):
    """Two pairs of rows at a time: 42 instructions for 64 products."""

    name: ClassVar[str] = "dsp paired linear"
    bits: ClassVar[int] = 2
    unit: ClassVar[int] = UNIT
    sums: ClassVar[int] = 1
    filling: ClassVar[int] = -MOVED
    note: ClassVar[str] = "2-bit weights, each product for two outputs"

    def stream(self, settled: Settled) -> Words:
        heads, words = paired(settled)
        blocks = np.pad(words, ((0, len(words) % 2), (0, 0))).reshape(-1, 2, words.shape[1]).transpose(0, 2, 1)
        return streamed(heads, blocks.reshape(len(blocks), -1), settled)
