"""Requantize steps for fabric: the multiplier with the fewest adders that rounds every accumulator as the graph's does.

A requantize step is a staircase: `q(a) = (a * multiplier + 2^(shift-1) >> shift) + zero_point` steps up to k at one
accumulator, `T_k`. Any `floor((a * m + c) / 2^s)` with its steps in the same places is the same function, for
one k after the other:

    m * T_k + c >= k * 2^s  and  m * (T_k - 1) + c < k * 2^s.

So m may be narrower than the graph's 31 bits, as narrow as the accumulator's range allows; where the graph scales by a
power of two it is 1. Steps that the accumulator cannot reach, and those beyond the clamp, ask for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bitsmith.errors import UnsupportedError

WIDEST = 1 << 45
"""Magnitude that no value may reach: da4ml finds widths by logarithms in float64, which are exact up to here."""


@dataclass(frozen=True)
class Rescale:
    """`floor((a * multiplier + offset) / 2^shift)`: the zero point is in the offset."""

    multiplier: int
    offset: int
    shift: int


Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Bounds:
    """`a * m + c >= k * 2^s` for each (k, a) of `at_least`, and `<` for each of `below`.

    settled: whether there is but one integer that any accumulator falls on.
    """

    at_least: Pairs
    below: Pairs
    settled: bool

    @property
    def largest(self) -> tuple[int, int]:
        """The largest |k| and the largest |a|."""
        levels = max(int(np.abs(pairs[0]).max(initial=0)) for pairs in (self.at_least, self.below))
        return levels, max(int(np.abs(pairs[1]).max(initial=0)) for pairs in (self.at_least, self.below))

    def offset(self, multiplier: int, shift: int) -> int | None:
        """The offset of the most trailing zeros that meets them; None where none does."""
        level, place = self.largest
        if max(place * multiplier, level << shift) >= WIDEST // 2:
            return None
        least = int(((self.at_least[0] << shift) - self.at_least[1] * multiplier).max())
        most = int(((self.below[0] << shift) - self.below[1] * multiplier).min()) - 1
        return None if least > most else roundest(least, most)


@dataclass(frozen=True)
class Staircase:
    """What is asked of a requantize step: its own rule, the range of its accumulator, and the clamp that follows."""

    multiplier: int
    shift: int
    zero_point: int
    lowest: int
    highest: int
    accumulator: tuple[int, int]

    def level(self, accumulator: int) -> int:
        """The integer that an accumulator falls on, before the clamp."""
        return ((accumulator * self.multiplier + (1 << (self.shift - 1))) >> self.shift) + self.zero_point

    def bounds(self) -> Bounds:
        """What a multiplier and an offset must meet."""
        bottom, top = self.level(self.accumulator[0]), self.level(self.accumulator[1])
        levels = range(max(bottom, self.lowest) + 1, min(top, self.highest) + 1)
        half = 1 << (self.shift - 1)
        places = [-((half - ((level - self.zero_point) << self.shift)) // self.multiplier) for level in levels]
        least = [*zip(levels, places, strict=True)]
        most = [(level, place - 1) for level, place in least]
        if bottom >= self.lowest:
            least.append((bottom, self.accumulator[0]))
        if top <= self.highest:
            most.append((top + 1, self.accumulator[1]))
        return Bounds(_columns(least), _columns(most), settled=not levels)


@lru_cache(maxsize=1 << 16)
def cheapest(wanted: Staircase, where: str) -> Rescale | None:
    """The rescale of the fewest adders, the narrowest of those; None where all accumulators fall on one integer.

    Raises UnsupportedError where none stays below 2^45.
    """
    bounds = wanted.bounds()
    if bounds.settled:
        return None
    found: list[tuple[int, int, Rescale]] = []
    for shift in range(wanted.shift + 1):
        # Nothing has fewer adders than a single power of two.
        if any(one[0] == 1 for one in found):
            break
        for multiplier in _candidates(wanted, shift):
            offset = bounds.offset(multiplier, shift)
            if offset is not None:
                found.append((digits(multiplier), shift, Rescale(multiplier, offset, shift)))
    if not found:
        raise UnsupportedError(
            f"no multiplier that fits rescales its sums, from {wanted.accumulator[0]:,} to {wanted.accumulator[1]:,}",
            where=where,
            fix="Compile with --scales power-of-two, or with fewer bits.",
        )
    return min(found, key=lambda one: one[:2])[2]


def _candidates(wanted: Staircase, shift: int) -> list[int]:
    """Multipliers over 2^shift near the one that is wanted."""
    down = wanted.multiplier >> (wanted.shift - shift)
    return [one for one in (down, down + 1) if one > 0]


def _columns(pairs: list[tuple[int, int]]) -> Pairs:
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def roundest(least: int, most: int) -> int:
    """The integer from `least` to `most` that has the most trailing zeros."""
    if least <= 0 <= most:
        return 0
    for zeros in range(max(abs(least), abs(most)).bit_length(), -1, -1):
        rounded = -(-least >> zeros) << zeros
        if rounded <= most:
            return rounded
    raise AssertionError("an empty range")


def digits(number: int) -> int:
    """How many signed powers of two a positive integer is a sum of, at the least (canonical signed digits)."""
    return (number ^ (3 * number)).bit_count()
