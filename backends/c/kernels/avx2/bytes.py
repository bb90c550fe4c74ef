"""Products of bytes: twice as many an instruction, where no sum of theirs can pass 16 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.avx2 import ternary
from bitsmith.backends.c.kernels.avx2.codes import TABLE, Codes, codes
from bitsmith.backends.c.kernels.avx2.panels import LANES, Gemm, columns_at_once, gemm, panel, runs, steps
from bitsmith.backends.c.kernels.kernel import FittingFamily, Kernel, Site
from bitsmith.ir.bounds import INT32_MAGNITUDE

MOST_COLUMNS = 4
"""Of a tile: with two vectors of sums each, they leave eight of sixteen registers."""

GROUP = 4
"""Neighbouring weights of an output, whose products end up in one sum of 32 bits."""

WORD = (1 << 15) - 1
SHORTEST = 2
"""Steps of a run that are worth their sums of 16 bits."""


@dataclass(frozen=True, eq=False)
class Products:
    """How an operation multiplies bytes.

    lowest: the input that becomes 0. bias: with what that makes of the weights. total: and of the sum of all inputs.
    run: steps, of two groups each, whose sums 16 bits hold. number: runs of a row.
    """

    coded: Codes
    lowest: int
    bias: np.ndarray[tuple[int], np.dtype[np.int64]]
    total: int
    run: int
    number: int

    @property
    def depth(self) -> int:
        return 2 * GROUP * self.run * self.number


def products(site: Site, found: Gemm) -> Products | str:
    """The products of an operation, or why there are none."""
    coded = ternary.codes(found.rows) if found.ternary else codes(found.rows, TABLE)
    if coded is None:
        return "its weights are of more than sixteen levels"
    zero = site.x.zero_point
    lowest, highest = min(site.ranges[0].lowest, zero), max(site.ranges[0].highest, zero)
    rows = coded.weights
    bias = found.bias + (lowest - zero) * rows.sum(axis=1)
    if int(np.abs(bias).max()) > INT32_MAGNITUDE:
        return "its bias would pass 32 bits"
    # Each half of a group has a sum of its own, which goes up by positive weights, and down by negative ones.
    filled = np.pad(rows, ((0, 0), (0, -found.length % (2 * GROUP)))).reshape(len(rows), -1, 2, 2, GROUP // 2)
    up, down = (np.maximum(sign * filled, 0).sum(axis=(2, 4)).transpose(0, 2, 1) for sign in (1, -1))
    count = filled.shape[1]
    reaches = np.concatenate([up, down]).reshape(-1, count)
    lengths = runs(reaches * (highest - lowest), 0, WORD, 1)
    if lengths is None or lengths[0] < min(SHORTEST, count):
        return "sums of its products pass 16 bits too soon"
    return Products(coded, lowest, bias, (lowest - zero) * found.length, *lengths)


class Avx2Bytes(FittingFamily[tuple[Gemm, Products]]):
    """VPMADDUBSW on weights of sixteen levels, 8 of them an instruction's 32 products, added up in 16 bits.

    Inputs are counted from the lowest one, so that they have no sign. The weights prove how many products 16 bits hold.
    """

    name: ClassVar[str] = "avx2 bytes"

    def fit(self, site: Site) -> tuple[Gemm, Products] | str:
        found = gemm(site)
        if isinstance(found, str):
            return found
        made = products(site, found)
        return made if isinstance(made, str) else (found, made)

    def made(self, site: Site, fit: tuple[Gemm, Products]) -> Kernel:
        found, made = fit
        at_once = columns_at_once(found.pixels, MOST_COLUMNS)
        count = panel(found.pixels, at_once, made.depth)
        block, weight = None, made.coded.packed(made.depth, GROUP)
        if found.ternary:
            block, weight = ternary.crowded(weight, -(-found.outputs // LANES), fields=2)
        return Kernel(
            self.name,
            "avx2/bytes.c.j2",
            context={
                "gemm": found,
                "made": made,
                "depth": made.depth,
                "at_once": at_once,
                "panel": count,
                "block": block,
            },
            constants=(
                weight,
                made.coded.table,
                *made.coded.bases(LANES),
                *steps(made.bias, found.rule, LANES),
            ),
            helpers=(
                "avx2/vectors.c.j2",
                "avx2/bytes_of.c.j2",
                *([] if block is None else [ternary.HELPER]),
                *([] if made.coded.base is None else ["avx2/based.c.j2", "avx2/total_of_bytes.c.j2"]),
            ),
            scratch=made.depth * count + (0 if block is None else block.bytes),
            gaps=found.gap(site, count),
            note=f"weights of {len(made.coded.levels)} levels looked up, sums of {4 * made.run} products in 16 bits",
        )
