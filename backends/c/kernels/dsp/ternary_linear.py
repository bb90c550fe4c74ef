"""Linear with ternary weights, five to a byte."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.dsp.linear_rows import PackedLinear, filled, streamed
from bitsmith.backends.c.kernels.dsp.packed import UNIT, Settled, Sums, Words
from bitsmith.backends.c.kernels.dsp.ternary import GROUP, MOVED, bytes_of, sums_of_trits
from bitsmith.backends.c.kernels.kernel import Site
from bitsmith.ir.integer import Linear


class DspTernaryLinear(PackedLinear):
    """Four rows at a time: 67 instructions for 40 products, for no other pixel shares what is unpacked."""

    name: ClassVar[str] = "dsp ternary linear"
    weights: ClassVar[str] = "trits"
    spreads: ClassVar[bool] = False
    unit: ClassVar[int] = UNIT
    sums: ClassVar[int] = 1
    filling: ClassVar[int] = -MOVED
    group: ClassVar[int] = GROUP
    rounds: ClassVar[int] = 2
    reads: ClassVar[str] = "of four outputs each: starts, ten weights of two outputs a word, multipliers"
    note: ClassVar[str] = "ternary weights, five to a byte"

    def sums_of(self, site: Site, operation: Linear) -> Sums | str:
        return sums_of_trits(site, operation, self.unit)

    def stream(self, settled: Settled) -> Words:
        start, packed = bytes_of(settled)
        pairs = filled(packed).reshape(-1, 2, 2, *packed.shape[1:]) << np.array([[0, 16], [8, 24]])[:, None]
        words = pairs.sum(axis=(2, 4)).transpose(0, 2, 1)
        return streamed(start[:, None], words.reshape(len(words), -1), settled)
