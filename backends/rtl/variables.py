"""Symbolic integers: arrays of da4ml's fixed-point variables, all of step 1 or more."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from da4ml.trace import FixedVariable, HWConfig

from bitsmith.ir.integer import Value

Variables: TypeAlias = npt.NDArray[Any]
"""An array of FixedVariable, of the shape of one sample."""

LUTS = HWConfig(1, -1, -1)
"""da4ml counts carry chains bit by bit with these, so that the cost of a circuit is an estimate of its LUTs."""


def inputs(value: Value) -> Variables:
    """A variable for each element of an input, over all integers of its type."""
    kind = value.format.type
    made = np.empty(value.shape, dtype=object)
    for place in np.ndindex(value.shape):
        made[place] = FixedVariable(float(kind.lowest), float(kind.highest), 1.0, 0.0, LUTS)
    return made


def constants(integers: npt.NDArray[Any], hardware: HWConfig = LUTS) -> Variables:
    """A constant for each integer."""
    made = np.empty(integers.shape, dtype=object)
    for place in np.ndindex(integers.shape):
        made[place] = FixedVariable.from_const(int(integers[place]), hwconf=hardware)
    return made


def constant(integer: int, like: FixedVariable) -> FixedVariable:
    """A constant of the hardware of another variable."""
    return FixedVariable.from_const(integer, hwconf=like.hwconf)
