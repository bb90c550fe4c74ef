"""The integers that weights may be, as solvers ask for them: the nearest one, and the two around."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError
from bitsmith.ir.formats import Format
from bitsmith.ir.grids import Codebook

Reals = npt.NDArray[np.float64]


class Levels(Protocol):
    """Which integers each weight may be. Integers are held as float64.

    `steps` counts in units of the scale: (groups, rows, k), or (groups, rows) with the `column` that it is of.
    """

    def nearest(self, steps: Reals, column: int | None = None) -> Reals:
        """The allowed integer nearest to each of `steps`; half goes up."""

    def around(self, steps: Reals) -> tuple[Reals, Reals]:
        """The neighbouring allowed integers below and above each of `steps`, (groups, rows, k)."""

    def repeated(self, times: int) -> Levels:
        """The levels of `times` copies of the rows, copy by copy."""

    def rows(self, part: slice) -> Levels:
        """The levels of some of the rows."""


@dataclass(frozen=True, eq=False)
class Interval:
    """All integers from lowest to highest: float64 that broadcast against (groups, rows)."""

    lowest: Reals
    highest: Reals

    def nearest(self, steps: Reals, column: int | None = None) -> Reals:
        lowest, highest = self._ends(steps)
        return np.clip(np.floor(steps + 0.5), lowest, highest)

    def around(self, steps: Reals) -> tuple[Reals, Reals]:
        lowest, highest = self._ends(steps)
        below = np.clip(np.floor(steps), lowest, highest - 1)
        return below, below + 1

    def repeated(self, times: int) -> Interval:
        return Interval(_repeated(self.lowest, times), _repeated(self.highest, times))

    def rows(self, part: slice) -> Interval:
        if self.lowest.ndim == 0:
            return self
        return Interval(self.lowest[:, part], self.highest[:, part])

    def _ends(self, steps: Reals) -> tuple[Reals, Reals]:
        if steps.ndim == 2 or self.lowest.ndim == 0:
            return self.lowest, self.highest
        return self.lowest[:, :, None], self.highest[:, :, None]


@dataclass(frozen=True, eq=False)
class Listed:
    """Some integers, ascending: float64 (n,), the same for all."""

    integers: Reals

    def nearest(self, steps: Reals, column: int | None = None) -> Reals:
        middles = (self.integers[1:] + self.integers[:-1]) / 2
        return self.integers[np.searchsorted(middles, steps, side="right")]

    def around(self, steps: Reals) -> tuple[Reals, Reals]:
        below = np.clip(np.searchsorted(self.integers, steps, side="right") - 1, 0, len(self.integers) - 2)
        return self.integers[below], self.integers[below + 1]

    def repeated(self, times: int) -> Listed:
        return self

    def rows(self, part: slice) -> Listed:
        return self


@dataclass(frozen=True, eq=False)
class Multiples:
    """Codes from -code to code times a multiplier: float64 (groups, rows, k)."""

    multiplier: Reals
    code: int

    def nearest(self, steps: Reals, column: int | None = None) -> Reals:
        multiplier = self.multiplier if column is None else self.multiplier[:, :, column]
        return np.clip(np.floor(steps / multiplier + 0.5), -self.code, self.code) * multiplier

    def around(self, steps: Reals) -> tuple[Reals, Reals]:
        below = np.clip(np.floor(steps / self.multiplier), -self.code, self.code - 1)
        return below * self.multiplier, (below + 1) * self.multiplier

    def repeated(self, times: int) -> Multiples:
        return Multiples(np.tile(self.multiplier, (1, times, 1)), self.code)

    def rows(self, part: slice) -> Multiples:
        return Multiples(self.multiplier[:, part], self.code)


def levels_of(chosen: Format, shape: tuple[int, int, int]) -> Levels:
    """The integers that a weight format allows, for weights of shape (groups, rows, k).

    A format without a grid leaves out the lowest integer of its type, so that the range is symmetric.
    """
    groups, rows, inputs = shape
    grid = chosen.grid
    if grid is None:
        highest = np.array(chosen.type.highest, np.float64)
        return Interval(-highest, highest)
    if not isinstance(grid, Codebook):
        return Multiples(grid.spread(inputs).reshape(shape), grid.code)
    if len(grid.rows) == 1:
        first, *_, last = integers = grid.rows[0]
        if len(integers) == last - first + 1:
            return Interval(np.array(first, np.float64), np.array(last, np.float64))
        return Listed(np.array(integers, np.float64))
    ends = np.array([(row[0], row[-1]) for row in grid.rows], np.float64)
    if any(len(row) != last - first + 1 for row, (first, last) in zip(grid.rows, ends, strict=True)):
        raise InternalError(f"rounding to a {grid.kind} codebook with different gaps in each channel")
    return Interval(ends[:, 0].reshape(groups, rows), ends[:, 1].reshape(groups, rows))


def _repeated(ends: Reals, times: int) -> Reals:
    return ends if ends.ndim == 0 else np.tile(ends, (1, times))
