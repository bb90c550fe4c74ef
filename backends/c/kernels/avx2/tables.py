"""Products of 2 bits by 2 bits, looked up: VPSHUFB as thirty-two look-ups in a table of sixteen bytes.

Two weights of four levels each are a number from 0 to 15, and so are two inputs. So the sixteen sums that two given
inputs make with any two weights are a table of sixteen bytes, which VPSHUFB looks thirty-two outputs up in at once: 64
products an instruction, and one more adds them up. The tables of all sixteen pairs of inputs take 256 bytes and are the
same for every layer of these levels (product tables: Ganji et al. 2023, DeepGEMM, arXiv:2304.09049, section 3, which
looks single products up, by an index that is put together from weight and input first).

Where each output has levels about a base of its own, the base is taken times the sum of all inputs, once a column.

Sums grow in bytes as long as the weights prove that they cannot pass them, then in 16 bits, then in 32. Levels are
whatever a codebook has: nothing depends on their being equally far apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.avx2 import ternary
from bitsmith.backends.c.kernels.avx2.codes import Codes, codes
from bitsmith.backends.c.kernels.avx2.panels import Gemm, columns_at_once, gemm, padded, panel, runs, steps
from bitsmith.backends.c.kernels.kernel import Constant, FittingFamily, Kernel, Site
from bitsmith.ir.bounds import INT32_MAGNITUDE

LEVELS = 4
VECTOR = 32
"""Outputs of a vector of sums."""

MOST_COLUMNS = {1: 6, 2: 4}
"""Of a tile, by its vectors of outputs: their sums leave eight of sixteen registers."""

BYTE, WORD = 127, (1 << 15) - 1
FEWEST_OUTPUTS = 16

Wide = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tables:
    """How the products of an operation are looked up.

    lowest:  the input that is code 0.
    sums:    (16 pairs of inputs, 16 pairs of weights): sums of two products, less `middle`. A pair of codes is the
             number first + 4 * second.
    coded:   the weights. pairs: of them, (outputs, length / 2).
    padding: the code of an input that stands for 0.0.
    run:     how many pairs' sums a byte holds, an even number. number: of runs in a row, filled up with padding.
    """

    lowest: int
    sums: Wide
    middle: int
    coded: Codes
    pairs: Wide
    padding: int
    run: int
    number: int

    @property
    def steps(self) -> int:
        """Pairs of a column."""
        return self.run * self.number


def tables(site: Site, found: Gemm) -> Tables | str:
    """The tables of an operation, or why there are none."""
    zero = site.x.zero_point
    lowest, highest = min(site.ranges[0].lowest, zero), max(site.ranges[0].highest, zero)
    if highest - lowest >= LEVELS:
        return "its inputs are of more than four levels"
    coded = ternary.codes(found.rows) if found.ternary else codes(found.rows, LEVELS)
    if coded is None:
        return "its weights are of more than four levels"
    if found.channels % 2:
        return "pairs of inputs would straddle its pixels, whose channels are odd in number"
    # Codes that never come up are as the last one that does.
    inputs = np.minimum(lowest + np.arange(LEVELS), highest) - zero
    products = inputs[:, None] * np.pad(coded.levels, (0, LEVELS - len(coded.levels)), mode="edge")
    sums = (products[None, :, None, :] + products[:, None, :, None]).reshape(LEVELS**2, LEVELS**2)
    middle = int(sums.min() + sums.max()) // 2
    sums = sums - middle
    reach = np.abs(sums).max(axis=0)
    pairs = coded.codes[:, 0::2] + LEVELS * coded.codes[:, 1::2]
    reaches = reach[pairs]
    found_runs = runs(reaches, abs(middle), BYTE, 2)
    if found_runs is None:
        return "sums of four products pass 8 bits"
    run, number = found_runs
    if int(reaches.sum(axis=1).max()) + run * abs(middle) > WORD:
        return "its sums pass 16 bits"
    based = 0 if coded.base is None else int(np.abs(coded.base).max()) * (highest - lowest) * found.length
    if int(np.abs(found.bias).max()) + abs(middle) * run * number + WORD + based > INT32_MAGNITUDE:
        return "its sums might pass 32 bits"
    return Tables(lowest, sums, middle, coded, pairs, zero - lowest, run, number)


def blocks(pairs: Wide, steps: int, vectors: int) -> Wide:
    """Pairs of weights, (outputs, n), as (blocks, steps / 2, outputs of a block): two steps a byte, little end first.

    Of the 32 outputs of a vector the second sixteen stand between the first, so that the even lanes hold neighbours.
    """
    filled = padded(np.pad(pairs, ((0, 0), (0, steps - pairs.shape[1]))), vectors * VECTOR)
    lanes = (
        filled.reshape(-1, vectors, 2, VECTOR // 2, steps).transpose(0, 4, 1, 3, 2).reshape(-1, steps, vectors * VECTOR)
    )
    packed: Wide = lanes[:, 0::2] | lanes[:, 1::2] << 4
    return packed


class Avx2Tables(FittingFamily[tuple[Gemm, Tables]]):
    """Tiles of four columns times 64 outputs: 44 instructions for 512 products."""

    name: ClassVar[str] = "avx2 tables"

    def fit(self, site: Site) -> tuple[Gemm, Tables] | str:
        found = gemm(site)
        if isinstance(found, str):
            return found
        if found.outputs < FEWEST_OUTPUTS:
            return "most of the lanes would have no output"
        made = tables(site, found)
        return made if isinstance(made, str) else (found, made)

    def made(self, site: Site, fit: tuple[Gemm, Tables]) -> Kernel:
        found, made = fit
        vectors = 2 if found.outputs > VECTOR else 1
        at_once = columns_at_once(found.pixels, MOST_COLUMNS[vectors])
        count = panel(found.pixels, at_once, made.steps)
        image = 0 if found.is_direct else site.x.elements // 2
        comment = f"four weights a byte, {vectors * VECTOR} outputs at a time"
        pairs = blocks(made.pairs, made.steps, vectors)
        block, weight = None, Constant("weight", "uint8_t", pairs, comment, alignment=32)
        if found.ternary:
            block, weight = ternary.crowded(weight, -(-found.outputs // (vectors * VECTOR)), fields=4)
        return Kernel(
            self.name,
            "avx2/tables.c.j2",
            context={
                "gemm": found,
                "depth": made.steps,
                "made": made,
                "vectors": vectors,
                "at_once": at_once,
                "panel": count,
                "columns": made.steps * count,
                "block": block,
                "image": image,
            },
            constants=(
                weight,
                Constant(
                    "sums",
                    "int8_t",
                    made.sums,
                    f"of two products less {made.middle}: of sixteen pairs of inputs with sixteen pairs of weights",
                    alignment=16,
                ),
                *made.coded.bases(vectors * VECTOR),
                *steps(found.bias + made.middle * made.steps, found.rule, vectors * VECTOR),
            ),
            helpers=(
                "avx2/vectors.c.j2",
                "avx2/tables_of.c.j2",
                *([] if block is None else [ternary.HELPER]),
                *([] if made.coded.base is None else ["avx2/based.c.j2", "avx2/total_of_codes.c.j2"]),
            ),
            scratch=made.steps * count + image + (0 if block is None else block.bytes),
            gaps=found.gap(site, count) if found.is_direct else {0: -site.output.bytes},
            note=f"two products a look-up, sums of {made.run} look-ups in 8 bits",
        )
