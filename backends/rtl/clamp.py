"""The step after an accumulator: rescaled, rounded half up and clamped, element by element."""

from __future__ import annotations

import numpy as np
from da4ml.trace import FixedVariable

from bitsmith.backends.rtl.rescale import Staircase, cheapest
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
    scaled = total * rescale.multiplier + (offset * rescale.multiplier + rescale.offset)
    return clamp(floor_shift(scaled, rescale.shift), rule.lowest, highest)


def floor_shift(number: FixedVariable, shift: int) -> FixedVariable:
    """`number >> shift`: bits are dropped, nothing is added."""
    shifted = number * 2.0**-shift
    return shifted.quantize(*shifted.kif[:2], 0) if shifted.step < 1 else shifted


def clamp(number: FixedVariable, lowest: int, highest: int) -> FixedVariable:
    """The nearest integer from `lowest` to `highest`."""
    return number.max_of(lowest).min_of(highest)
