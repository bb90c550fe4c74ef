"""Products of 8-bit inputs with weights of 4 or 2 bits, on vectors of 16: what is unpacked by masks and shifts.

Weights are held above the lowest of their output, u = w - l, and 16 of them with the next 16 in one vector: of 4 bits,
byte i of a vector holds u_i + 16 u_(16+i), so AND leaves the first 16 and a shift the others; of 2 bits, it holds four.
What is missing is l times the sum of all inputs, taken once a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels import trits
from bitsmith.backends.c.kernels.conv import rows_of
from bitsmith.backends.c.kernels.dsp.packed import Settled
from bitsmith.backends.c.kernels.kernel import Constant, Site
from bitsmith.backends.c.kernels.mve.products import unfit
from bitsmith.backends.c.kernels.weights import span_bits
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import Conv, Linear

LANES = 16
"""Bytes of a vector."""


@dataclass(frozen=True)
class Packing:
    """How a row of weights lies in vectors: byte i holds weight i of each of as many runs of 16 as a byte has fields.

    length: of the row. bits: of a field, or 0 where fields are digits to base 3. fields: of a byte.
    """

    length: int
    bits: int
    fields: int

    @property
    def per_vector(self) -> int:
        """Weights of a whole vector."""
        return LANES * self.fields

    @property
    def whole(self) -> int:
        """Whole vectors."""
        return self.length // self.per_vector

    @property
    def left(self) -> int:
        """Weights of the one that is not, if any."""
        return self.length % self.per_vector

    @property
    def lanes(self) -> int:
        """Bytes of that, and weights of each of its runs."""
        return LANES if self.bits or not self.left else -(-self.left // self.fields)

    @property
    def row(self) -> int:
        """Bytes of the row."""
        return LANES * self.whole + (self.lanes if self.left else 0)

    @property
    def description(self) -> str:
        return f"{self.bits}-bit weights" if self.bits else f"ternary weights, {trits.PACKED}"


def refusal(site: Site, operation: Conv | Linear) -> str | None:
    """Why an operation cannot be done on vectors of packed weights; None if it can."""
    rows = rows_of(operation)
    if "mve" not in site.target.features:
        return "the target has no Helium"
    if any(tensor.format.type.storage != np.int8 for tensor in (site.x, site.output)):
        return "it is not of signed 8-bit values"
    if trits.is_ternary(operation.weight_format):
        return trits.CROWDED
    if span_bits(rows) is None:
        return "the weights of an output span more than 4 bits"
    return unfit(site, operation, rows)


def packed(rows: IntegerArray, bits: int, at_once: int) -> tuple[Packing, Constant]:
    """Rows of weights above the lowest of each: (rows, vectors, 16), of 16 * 8 / bits weights each."""
    outputs, length = rows.shape
    packing = Packing(length, bits, 8 // bits)
    above = np.zeros(
        (-(-outputs // at_once) * at_once, -(-length // packing.per_vector) * packing.per_vector), np.int64
    )
    above[:outputs, :length] = rows - rows.min(axis=1, keepdims=True).astype(np.int64)
    parts = above.reshape(len(above), -1, packing.fields, LANES) << (bits * np.arange(packing.fields))[:, None]
    data: npt.NDArray[np.int64] = parts.sum(axis=2)
    comment = f"({outputs}, {length}) above the lowest, {packing.per_vector} to 16 bytes"
    return packing, Constant("weight", "uint8_t", data.reshape(len(data), -1), comment)


def steps(products: Settled, lowest: npt.NDArray[np.int64], at_once: int) -> Constant:
    """Of `at_once` outputs each: biases modulo 2^32, lowest weights, multipliers; of outputs that are not there, 0."""
    count = len(products.bias)
    table = np.zeros((3, -(-count // at_once) * at_once), np.int64)
    table[:, :count] = products.bias, lowest, products.multiplier
    data = (table & 0xFFFFFFFF).reshape(3, -1, at_once).transpose(1, 0, 2).reshape(-1)
    return Constant("steps", "uint32_t", data, f"of {at_once} outputs each: biases, lowest weights, multipliers")
