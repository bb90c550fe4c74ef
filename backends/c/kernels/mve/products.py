"""What kernels of 8-bit products without any packing share."""

from __future__ import annotations

import numpy as np

from bitsmith.backends.c.kernels.conv import rows_of
from bitsmith.backends.c.kernels.dsp.packed import Settled, rescale, settle
from bitsmith.backends.c.kernels.kernel import Constant, Site
from bitsmith.backends.c.kernels.weights import weights
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import Conv, Linear, Requantize

HELPERS = ("mve/intrinsics.c.j2",)

UNIT = 0
"""The accumulator is the sum of products itself, modulo 2^32 while it grows."""

MOST_RAISED = 12
"""Bits by which a whole sum is raised, so that the upper half of its product with a multiplier is all that counts."""


def unit(rule: Requantize) -> int | None:
    """By how many bits accumulators are raised before SMMLA rescales them; None where it cannot serve."""
    return next((bits for bits in range(MOST_RAISED + 1) if rescale(rule, bits) is not None), None)


def refusal(site: Site, operation: Conv | Linear, widens: bool = False) -> str | None:
    """Why an operation cannot be done on vectors of 8-bit inputs and weights; None if it can.

    widens: whether weights that could be packed more tightly are held in a byte each.
    """
    rows = operation.weight.reshape(len(operation.weight), -1)
    if "mve" not in site.target.features:
        return "the target has no Helium"
    if any(tensor.format.type.storage != np.int8 for tensor in (site.x, site.output)):
        return "it is not of signed 8-bit values"
    stored = weights(rows, operation.weight_format)
    if not (rows.min(initial=0) >= -128 and rows.max(initial=0) <= 127):
        return "its weights pass 8 bits"
    if not widens and (stored.bits != 8 or stored.looked_up or not stored.signed):
        return "its weights are packed more tightly, or looked up, or have no signs"
    return unfit(site, operation, rows)


def unfit(site: Site, operation: Conv | Linear, rows: IntegerArray) -> str | None:
    """Why the sums of an operation cannot be rescaled; None if they can."""
    raised = unit(operation.requantize)
    if raised is None:
        return "its requantize step has no form of SMMLA"
    if operation.requantize.multiplier.size not in (1, len(rows)):
        return "its multipliers are not by channel"
    return None if settle(site, rows, operation, raised) else f"its accumulator may pass 2^{31 - raised}"


def settled(site: Site, operation: Conv | Linear) -> Settled:
    """Rows of weights, biases and multipliers of an operation that is not refused."""
    found = settle(site, rows_of(operation), operation, unit(operation.requantize) or 0)
    assert found is not None
    return found


def steps(products: Settled, at_once: int) -> Constant:
    """The biases of `at_once` outputs, then their multipliers, outputs after outputs; filled up with 0."""
    count = len(products.bias)
    table = np.zeros((2, -(-count // at_once) * at_once), np.int64)
    table[0, :count], table[1, :count] = products.bias & 0xFFFFFFFF, products.multiplier
    data = table.reshape(2, -1, at_once).transpose(1, 0, 2).reshape(-1)
    return Constant("steps", "uint32_t", data, f"of {at_once} outputs each: biases modulo 2^32, multipliers")
