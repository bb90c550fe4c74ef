"""The parts of a softmax in integers: tables of exponentials, and a reciprocal without division."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError
from bitsmith.ir.formats import Format

Integers = npt.NDArray[np.int64]

ONE_TABLE = 8
"""Bits up to which all exponentials stand in one table."""

MOST_BITS = 23
"""Of an exponential: more would gain nothing in 16-bit results."""

MOST_LEVEL_BITS = 15
"""Of what a power is worth where it is multiplied: two bytes hold it."""

RECIPROCAL_ERROR = 2
"""By how much `reciprocal` may fall short of 2^60 / T."""

STEPS = 3
INTERCEPT = (48 << 29) // 17
SLOPE = -(-(32 << 29) // 17)


class Exponentials(NamedTuple):
    """`(coarse[d div F] * fine[d mod F]) >> shift` is exp(-step * d) in units of its value at 0, F = len(fine)."""

    coarse: Integers
    fine: Integers
    shift: int


def exponentials(step: float, bits: int, count: int) -> Exponentials:
    """Tables for rows of `count` integers of so many bits and this scale, whose sums stay below 2^31.

    Up to 8 bits there is one table; above, one of the multiples of 2^8 steps and one of the steps in between, since
    exp(-a - b) = exp(-a) * exp(-b). Entries are exponentials in units of 2^-E, rounded half up, with E = 23, or less
    in rows of more than 255.
    """
    unit = 1 << min(MOST_BITS, 31 - count.bit_length())

    def table(multiple: int, entries: int) -> Integers:
        distances = multiple * np.arange(entries, dtype=np.float64)
        return np.floor(unit * np.exp(-step * distances) + 0.5).astype(np.int64)

    many, few = table_lengths(bits)
    if few == 1:
        return Exponentials(table(1, many), np.ones(1, np.int64), 0)
    return Exponentials(table(few, many), table(1, few), unit.bit_length() - 1)


def table_lengths(bits: int) -> tuple[int, int]:
    """Entries of the coarse and of the fine table for integers of so many bits."""
    return (1 << bits, 1) if bits <= ONE_TABLE else (1 << (bits - ONE_TABLE), 1 << ONE_TABLE)


def thresholds(powers: Format) -> Integers:
    """Between each power and the next, in 2^30ths: where their logarithms are as far from a share's."""
    base = _base(powers)
    between = np.arange(powers.type.highest, dtype=np.float64) + 0.5
    return np.maximum(np.ceil(base**-between * 2.0**30), 1).astype(np.int64)


def levels(powers: Format, reach: int) -> Integers:
    """What each integer of a format of powers stands for, rounded, in units of 2^-E; the last for 0.

    E is 15, or less where sums of products with terms that reach so far together would not fit 31 bits.
    """
    unit = 1 << max(0, min(MOST_LEVEL_BITS, 30 - reach.bit_length()))
    real = unit * _base(powers) ** -np.arange(powers.type.highest + 1, dtype=np.float64)
    held = np.floor(real + 0.5).astype(np.int64)
    held[-1] = 0
    return held


def _base(powers: Format) -> float:
    if powers.base is None:
        raise InternalError("a format of powers without a base")
    return powers.base


def reciprocal(divisor: Integers) -> Integers:
    """floor(2^60 / T), or less by at most RECIPROCAL_ERROR, of divisors 2^30 <= T < 2^31.

        r = floor(2^29 * 48/17) - (T * ceil(2^29 * 32/17) >> 31)
        three times:  r = r + ((r * ((2^60 - T * r) >> 30)) >> 30)

    The line is within 1/17 of the hyperbola everywhere, and each step of Newton's squares the relative error and ends
    below the reciprocal, where rounding down keeps it: so T * r never exceeds 2^60, and no product passes 2^61.
    (Ercegovac and Lang, Digital Arithmetic, 2004, section 7.2.)
    """
    r: Integers = INTERCEPT - ((divisor * SLOPE) >> 31)
    for _ in range(STEPS):
        r = r + ((r * (((1 << 60) - divisor * r) >> 30)) >> 30)
    return r
