"""The step after an accumulator: rescaled, rounded half up and clamped, element by element."""

from __future__ import annotations

import numpy as np
from da4ml.trace import FixedVariable

from bitsmith.backends.rtl.rescale import Rescale, Staircase, cheapest
from bitsmith.backends.rtl.variables import Variables, constant
from bitsmith.ir.integer import Operation, Requantize


def requantize(operation: Operation, sums: Variables, offsets: np.ndarray, rule: Requantize) -> Variables:
    """What a requantize step makes of the accumulators `sums + offsets`, integers of any sample shape.

    offsets: what is constant in an accumulator, of the same shape.
    """
    multipliers = np.broadcast_to(rule.multiplier, sums.shape)
    caps = np.broadcast_to(rule.highest if rule.caps is None else rule.caps, sums.shape)
    made = np.empty(sums.shape, dtype=object)
    for place in np.ndindex(sums.shape):
        offset, cap = int(offsets[place]), int(caps[place])
        made[place] = _one(operation, sums[place], offset, rule, int(multipliers[place]), cap)
    return made


def _one(
    operation: Operation, total: FixedVariable, offset: int, rule: Requantize, multiplier: int, highest: int
) -> FixedVariable:
    reach = int(total.low) + offset, int(total.high) + offset
    wanted = Staircase(multiplier, rule.shift, rule.zero_point, rule.lowest, highest, reach)
    rescale = cheapest(wanted, f"{operation.kind} {operation.name}")
    if rescale is None:
        return constant(min(max(wanted.level(reach[0]), rule.lowest), highest), total)
    if wanted.level(reach[0]) >= rule.lowest and wanted.level(reach[1]) <= highest:
        return rescaled(total, offset, rescale, 0)
    return saturated(rescaled(total, offset, rescale, rule.lowest), highest - rule.lowest) + rule.lowest


def rescaled(total: FixedVariable, offset: int, rescale: Rescale, less: int) -> FixedVariable:
    """`((total + offset) * multiplier + its offset >> shift) - less`, all constants in one adder."""
    constant = offset * rescale.multiplier + rescale.offset - (less << rescale.shift)
    shifted = (total * rescale.multiplier + constant) * 2.0**-rescale.shift
    return shifted.quantize(*shifted.kif[:2], 0) if shifted.step < 1 else shifted


def saturated(number: FixedVariable, highest: int) -> FixedVariable:
    """The nearest integer from 0 to `highest`.

    It is compared with `highest + 1`, which mostly is a power of two: then only the bits above are.
    """
    number = number.relu()
    if number.high <= highest:
        return number
    within = number.quantize(0, highest.bit_length(), 0)
    return (number - (highest + 1)).msb_mux(within, constant(highest, number), (0, highest, 1), zt_sensitive=False)
