"""The parts of a layer normalisation in integers: a reciprocal square root without division, and its constants."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

RECIPROCAL_ROOT_ERROR = 2
"""By how much `reciprocal_root` may be off 2^45 / sqrt(T), either way."""

STEPS = 4
INTERCEPT, SLOPE = 1_619_600_000, 925_500_000

MOST_FRACTION = 30
"""Bits behind the point of what is normalised, for a row of one."""

FINEST = 8
"""Bits by which rows are made finer, at most: then an epsilon is rounded by less than 2^-17 of any variance but 0."""

LARGEST_SHIFT = 62
ROOM = 60
"""Bits of a sum of products; the half that rounds them has one more."""


class Gains(NamedTuple):
    """`(x * gain + offset) >> shift` is what x, of `fraction` bits behind its point, comes to."""

    gain: Integers
    offset: Integers
    shift: int


def reciprocal_root(square: Integers) -> Integers:
    """2^45 / sqrt(T), off by at most RECIPROCAL_ROOT_ERROR, of squares 2^29 <= T < 2^31.

        r = INTERCEPT - (T * SLOPE >> 31)
        four times:  r = r + ((r * ((2^60 - T * (r^2 >> 30)) >> 30)) >> 31)

    The line is within a tenth of the curve everywhere, and each step of Newton's on 1 / r^2 - T takes a relative
    error of e to 3/2 e^2, below the root. No product passes 2^61. (Ercegovac and Lang, Digital Arithmetic, 2004,
    section 7.3.)
    """
    r: Integers = INTERCEPT - ((square * SLOPE) >> 31)
    for _ in range(STEPS):
        r = r + ((r * (((1 << 60) - square * ((r * r) >> 30)) >> 30)) >> 31)
    return r


def fraction_bits(count: int) -> int:
    """Bits behind the point of what is normalised over `count`, which reaches sqrt(count) and stays in 31 bits."""
    return MOST_FRACTION - ((count - 1).bit_length() + 1) // 2


def finer_bits(count: int, span: int, epsilon: float) -> int:
    """Bits by which rows of `count` integers of this span can be made finer, so that their squares fit 62 bits.

    epsilon: of the variance, in squared steps of the integers.
    """
    room = 30 - (count * span).bit_length()
    added = 30 - math.frexp(count * math.sqrt(epsilon))[1]
    return max(0, min(FINEST, room, added))


def reach(count: int, fraction: int) -> int:
    """What no element exceeds once it is normalised over `count`: sqrt(count), in units of 2^-fraction."""
    return math.isqrt(count << (2 * fraction)) + 1


def gains(gain: Reals, offset: Reals, fraction: int) -> Gains:
    """Integers for a real gain and offset in steps of the result, as precise as sums below 2^ROOM allow.

    gain, offset: (n,). Every gain is rounded to 31 bits of the largest, or fewer where the offsets are far larger.
    """
    most = math.frexp(float(np.abs(gain).max(initial=0.0)))[1]
    farthest = math.frexp(float(np.abs(offset).max(initial=0.0)))[1]
    shift = max(1, min(fraction + MOST_FRACTION - most, ROOM - farthest, LARGEST_SHIFT))
    scaled = np.ldexp(gain, shift - fraction), np.ldexp(offset, shift)
    held, added = (np.floor(real + 0.5).astype(np.int64) for real in scaled)
    return Gains(held, added, shift)
