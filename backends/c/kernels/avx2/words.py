"""Products of 16-bit words: exact whatever the weights are."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.avx2.panels import LANES, Gemm, columns_at_once, gemm, padded, panel, steps
from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.ir.formats import IntegerArray

MOST_COLUMNS = 6
"""Of a tile: with two vectors of sums each, they leave four of sixteen registers."""


class Avx2Words(KernelFamily):
    """VPMADDWD on inputs less their zero point and weights extended to 16 bits: 32 instructions for 192 products.

    VPMADDUBSW multiplies twice as many, but saturates sums of two that 8-bit weights and inputs make.
    """

    name: ClassVar[str] = "avx2 words"

    def refusal(self, site: Site) -> str | None:
        found = gemm(site)
        if isinstance(found, str):
            return found
        return None if found.rows.min() >= -128 and found.rows.max() <= 127 else "its weights pass 8 bits"

    def kernel(self, site: Site) -> Kernel:
        found = gemm(site)
        assert isinstance(found, Gemm)
        at_once = columns_at_once(found.pixels, MOST_COLUMNS)
        depth = -(-found.length // 2) * 2
        count = panel(found.pixels, at_once, 2 * depth)
        return Kernel(
            self.name,
            "avx2/words.c.j2",
            context={
                "gemm": found,
                "depth": depth,
                "at_once": at_once,
                "panel": count,
                "columns": 2 * depth * count,
            },
            constants=(
                Constant(
                    "weight",
                    "int8_t",
                    paired(found.rows),
                    "sixteen outputs at a time: two weights of each, then the next two",
                    alignment=32,
                ),
                *steps(found.bias, found.rule, LANES),
            ),
            helpers=("avx2/vectors.c.j2", "avx2/words_of.c.j2"),
            scratch=2 * depth * count + (0 if found.is_direct else found.length),
            gaps=found.gap(site, count),
            note="16-bit products on vectors of 16 outputs",
        )


def paired(rows: IntegerArray) -> IntegerArray:
    """Rows of weights, (outputs, k), as blocks of sixteen outputs, pairs, outputs, two of a pair; zeros fill up."""
    full = padded(padded(rows, LANES), 2, axis=1)
    blocks = full.reshape(-1, LANES, full.shape[1] // 2, 2)
    return np.ascontiguousarray(blocks.transpose(0, 2, 1, 3))
