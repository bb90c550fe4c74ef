"""What kernels of 8-bit products without any packing share."""

from __future__ import annotations

import numpy as np

from bitsmith.backends.c.kernels.conv import weight_rows
from bitsmith.backends.c.kernels.dsp.packed import Settled, rescale, settle
from bitsmith.backends.c.kernels.kernel import Constant, Site
from bitsmith.backends.c.kernels.weights import weights
from bitsmith.ir.integer import Conv, Linear

HELPERS = ("mve/intrinsics.c.j2",)

UNIT = 0
"""The accumulator is the sum of products itself, modulo 2^32 while it grows."""


def refusal(site: Site, operation: Conv | Linear) -> str | None:
    """Why an operation cannot be done on vectors of 8-bit inputs and weights; None if it can."""
    rule, rows = operation.requantize, operation.weight.reshape(len(operation.weight), -1)
    if "mve" not in site.target.features:
        return "the target has no Helium"
    if any(tensor.format.type.storage != np.int8 for tensor in (site.x, site.output)):
        return "it is not of signed 8-bit values"
    stored = weights(rows, operation.weight_format)
    if stored.bits != 8 or stored.looked_up or not stored.signed:
        return "its weights are packed more tightly, or looked up, or have no signs"
    if rescale(rule, UNIT) is None:
        return "its requantize step has no form of SMMLA"
    if rule.multiplier.size not in (1, len(rows)):
        return "its multipliers are not by channel"
    return None if settle(site, rows, operation, UNIT) else "its accumulator may pass int32"


def settled(site: Site, operation: Conv | Linear) -> Settled:
    """Rows of weights, biases and multipliers of an operation that is not refused."""
    rows = weight_rows(operation) if isinstance(operation, Conv) else operation.weight
    found = settle(site, rows, operation, UNIT)
    assert found is not None
    return found


def steps(products: Settled, at_once: int) -> Constant:
    """The biases of `at_once` outputs, then their multipliers, outputs after outputs; filled up with 0."""
    count = len(products.bias)
    table = np.zeros((2, -(-count // at_once) * at_once), np.int64)
    table[0, :count], table[1, :count] = products.bias & 0xFFFFFFFF, products.multiplier
    data = table.reshape(2, -1, at_once).transpose(1, 0, 2).reshape(-1)
    return Constant("steps", "uint32_t", data, f"of {at_once} outputs each: biases modulo 2^32, multipliers")
