"""Products of 16-bit words: exact whatever the weights are."""

from __future__ import annotations

from typing import ClassVar

from bitsmith.backends.c.kernels import trits
from bitsmith.backends.c.kernels.avx2.codes import TABLE, codes
from bitsmith.backends.c.kernels.avx2.panels import LANES, Gemm, columns_at_once, gemm, padded, panel, steps
from bitsmith.backends.c.kernels.kernel import Constant, FittingFamily, Kernel, Site
from bitsmith.ir.formats import IntegerArray

PAIR = 2
"""Neighbouring weights of an output, whose products VPMADDWD adds up."""

MOST_COLUMNS = 6
"""Of a tile: with two vectors of sums each, they leave four of sixteen registers."""


class Avx2Words(FittingFamily[Gemm]):
    """VPMADDWD on inputs less their zero point and weights extended to 16 bits: 32 instructions for 192 products.

    VPMADDUBSW multiplies twice as many, but saturates sums of two that 8-bit weights and inputs make. Weights of up to
    sixteen levels are held as codes of them.
    """

    name: ClassVar[str] = "avx2 words"

    def fit(self, site: Site) -> Gemm | str:
        found = gemm(site)
        if isinstance(found, str):
            return found
        if found.ternary:
            return trits.CROWDED
        return found if found.rows.min() >= -128 and found.rows.max() <= 127 else "its weights pass 8 bits"

    def made(self, site: Site, fit: Gemm) -> Kernel:
        coded = codes(fit.rows, TABLE)
        if coded is not None and coded.base is not None:
            coded = None
        at_once = columns_at_once(fit.pixels, MOST_COLUMNS)
        group = PAIR if coded is None else 2 * PAIR
        depth = -(-fit.length // group) * group
        count = panel(fit.pixels, at_once, 2 * depth)
        return Kernel(
            self.name,
            "avx2/words.c.j2",
            context={
                "gemm": fit,
                "coded": coded,
                "depth": depth,
                "at_once": at_once,
                "panel": count,
                "columns": 2 * depth * count,
                "block": None,
            },
            constants=(
                *([plain_weights(fit.rows)] if coded is None else [coded.packed(depth, PAIR), coded.table]),
                *steps(fit.bias, fit.rule, LANES),
            ),
            helpers=("avx2/vectors.c.j2", "avx2/words_of.c.j2"),
            scratch=2 * depth * count + (0 if fit.is_direct else fit.length),
            gaps=fit.gap(site, count),
            note="16-bit products" + ("" if coded is None else f", weights of {len(coded.levels)} levels looked up"),
        )


def plain_weights(rows: IntegerArray) -> Constant:
    """Rows of weights, (outputs, k), as blocks of sixteen outputs, pairs, outputs, two of a pair; zeros fill up."""
    full = padded(padded(rows, LANES), PAIR, axis=1)
    pairs = full.reshape(-1, LANES, full.shape[1] // PAIR, PAIR).transpose(0, 2, 1, 3)
    comment = "sixteen outputs at a time: two weights of each, then the next two"
    return Constant("weight", "int8_t", pairs, comment, alignment=32)
