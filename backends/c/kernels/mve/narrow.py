"""Products of 8-bit inputs with weights of 4 or 2 bits, on vectors of 16: what is unpacked by masks and shifts.

Weights are held above the lowest of their output, u = w - l, and 16 of them with the next 16 in one vector: of 4 bits,
byte i of a vector holds u_i + 16 u_(16+i), so AND leaves the first 16 and a shift the others; of 2 bits, it holds four.
What is missing is l times the sum of all inputs, taken once a pixel.
"""

from __future__ import annotations

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


def packed(rows: IntegerArray, bits: int, at_once: int) -> Constant:
    """Rows of weights above the lowest of each: (rows, vectors, 16), of 16 * 8 / bits weights each."""
    outputs, length = rows.shape
    per_vector = LANES * 8 // bits
    vectors = -(-length // per_vector)
    above = np.zeros((-(-outputs // at_once) * at_once, vectors * per_vector), np.int64)
    above[:outputs, :length] = rows - rows.min(axis=1, keepdims=True).astype(np.int64)
    parts = above.reshape(len(above), vectors, 8 // bits, LANES) << (bits * np.arange(8 // bits))[:, None]
    data: npt.NDArray[np.int64] = parts.sum(axis=2)
    comment = f"({outputs}, {length}) above the lowest, {per_vector} to 16 bytes"
    return Constant("weight", "uint8_t", data.reshape(len(data), -1), comment)


def steps(products: Settled, at_once: int) -> Constant:
    """Of `at_once` outputs each: biases modulo 2^32, lowest weights, multipliers; of outputs that are not there, 0."""
    count = len(products.bias)
    table = np.zeros((3, -(-count // at_once) * at_once), np.int64)
    table[:, :count] = products.bias, products.rows.min(axis=1), products.multiplier
    data = (table & 0xFFFFFFFF).reshape(3, -1, at_once).transpose(1, 0, 2).reshape(-1)
    return Constant("steps", "uint32_t", data, f"of {at_once} outputs each: biases, lowest weights, multipliers")
