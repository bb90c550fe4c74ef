"""Ternary weights on vectors of 16: five to a byte, of which products with 3 carry digit after digit out.

VMULH of bytes times 3 leaves the first digits of sixteen bytes, and VMUL what the next ones are carried out of: two
instructions unpack sixteen weights, as many as of 2 bits take. Digits are 1 more than their weights, as if the lowest
weight of each output were -1. What is left of a row takes as few bytes as hold it, each with weights that lie so far
apart as there are bytes.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels import trits
from bitsmith.backends.c.kernels.dsp.packed import Settled
from bitsmith.backends.c.kernels.kernel import Constant, Site
from bitsmith.backends.c.kernels.mve import conv, linear
from bitsmith.backends.c.kernels.mve.narrow import Packing, steps
from bitsmith.backends.c.kernels.mve.products import refusal
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import Conv, Linear


def unfit(site: Site, operation: Conv | Linear) -> str | None:
    """Why an operation cannot be done on vectors of ternary weights; None if it can."""
    if not trits.is_ternary(operation.weight_format):
        return "its weights are not ternary"
    return refusal(site, operation, widens=True)


def packed(rows: IntegerArray, at_once: int) -> tuple[Packing, Constant]:
    """Rows of ternary weights, with rows of 0 up to whole blocks."""
    outputs, length = rows.shape
    packing = Packing(length, 0, trits.PER_BYTE)
    row = np.zeros((-(-outputs // at_once) * at_once, length), np.int64)
    row[:outputs] = rows
    parts = np.split(row, [packing.whole * packing.per_vector], axis=1)
    # The last vector need not be full.
    parts[1] = np.pad(parts[1], ((0, 0), (0, -packing.left % packing.fields)))
    laid = [
        part.reshape(len(row), -1, packing.fields, lanes).swapaxes(2, 3).reshape(len(row), -1)
        for part, lanes in zip(parts, (16, packing.lanes), strict=True)
    ]
    data = trits.pack(np.concatenate(laid, axis=1))
    return packing, Constant("weight", "uint8_t", data, f"({outputs}, {length}) to base 3, five to a byte")


def stored(products: Settled, at_once: int) -> tuple[Packing, Constant, Constant]:
    """How weights lie, the weights, and what else is read of each block of outputs."""
    return *packed(products.rows, at_once), steps(products, np.full(len(products.rows), -1), at_once)


class HeliumTernaryConv(conv.HeliumConv):
    """The same with ternary weights: 13 instructions for 96 products, four of them to unpack weights."""

    name: ClassVar[str] = "helium ternary conv"

    def why_not(self, site: Site, operation: Conv) -> str | None:
        return unfit(site, operation)

    def stored(self, products: Settled) -> tuple[Packing | None, Constant, Constant]:
        return stored(products, conv.OUTPUTS)


class HeliumTernaryLinear(linear.HeliumLinear):
    """The same with ternary weights: 13 instructions for 64 products."""

    name: ClassVar[str] = "helium ternary linear"

    def why_not(self, site: Site, operation: Linear) -> str | None:
        return unfit(site, operation)

    def stored(self, products: Settled) -> tuple[Packing | None, Constant, Constant]:
        return stored(products, linear.OUTPUTS)
