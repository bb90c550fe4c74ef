"""Ratios as dyadic numbers: an integer multiplier over a power of two."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError

LARGEST_SHIFT = 62


def dyadic(ratios: npt.ArrayLike, bits: int = 31) -> tuple[npt.NDArray[np.int64], int]:
    """Multipliers m and one shift s with m / 2^s nearest to the positive ratios, 1 <= m < 2^bits.

    The largest ratio gets a multiplier in [2^(bits-1), 2^bits) wherever 1 <= s <= 62 allows it. A ratio too
    small for the shared shift gets the multiplier 1. (HAWQ-V3, arXiv:2011.10680, section 3.1, with one shift
    for all channels.)

    Returns int64 multipliers of the shape of `ratios`, and the shift.
    """
    real = np.asarray(ratios, dtype=np.float64)
    largest = float(real.max())
    if not (math.isfinite(largest) and real.min() > 0):
        raise InternalError("a rescale ratio that is not positive and finite")
    exponent = math.frexp(largest)[1]
    shift = min(bits - exponent, LARGEST_SHIFT)
    if round(math.ldexp(largest, shift)) >= 1 << bits:
        shift -= 1
    if shift < 1:
        raise InternalError(f"a rescale ratio of {largest:g} needs a left shift")
    multipliers = np.floor(np.ldexp(real, shift) + 0.5).astype(np.int64)
    return np.maximum(multipliers, 1), shift
