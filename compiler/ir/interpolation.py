"""Tables of which only some entries are kept: knots, as dense as the function asks for, and lines between them.

The inputs are cut into segments of equal size, each of which keeps one knot for 2^places inputs, the widest power of
two that serves it: few where a function is nearly straight, all where it bends or jumps (hierarchical segmentation,
Lee, Luk, Villasenor, Cheung 2003, "Hierarchical segmentation schemes for function evaluation").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.ir.formats import IntegerArray, IntegerType
from bitsmith.ir.integer import KNOT_FRACTION, KNOT_MAGNITUDE, WIDEST_SEGMENT, InterpolatedTable, Table

Integers = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

ALL_ENTRIES_BITS = 8
"""Inputs of so many bits are looked up whole: 256 entries cost less than anything between them."""


@dataclass(frozen=True, eq=False)
class Knots:
    """What an InterpolatedTable keeps, under the names that it has there."""

    knots: npt.NDArray[np.int32]
    starts: npt.NDArray[np.uint16]
    places: npt.NDArray[np.uint8]
    segment_places: int
    lowest: int
    highest: int

    @property
    def bytes(self) -> int:
        """Of flash."""
        return self.knots.nbytes + self.starts.nbytes + self.places.nbytes


def interpolated(operation: InterpolatedTable, index: Integers, row: Integers | int = 0) -> Integers:
    """The results at inputs `index`, counted from the lowest. row: of each, its row of knots."""
    width = operation.segment_places
    segment, within = index >> width, index & ((1 << width) - 1)
    places = operation.places[segment].astype(np.int64)
    knot = operation.starts[segment] + (within >> places)
    low, high = (operation.knots[row, knot + one].astype(np.int64) for one in (0, 1))
    sums = (low << places) + (high - low) * (within & ((1 << places) - 1))
    clamped: Integers = np.clip(_rounded(sums, places), operation.lowest, operation.highest)
    return clamped


def written_out(operation: InterpolatedTable, kind: IntegerType) -> Table:
    """The table of all its results, for backends that look up every integer. kind: of its result."""
    index = np.arange(operation.inputs_counted, dtype=np.int64)
    entries = [interpolated(operation, index, row) for row in range(len(operation.knots))]
    made = np.stack(entries).astype(kind.storage)
    return Table(operation.name, operation.inputs, operation.output, made, operation.function)


def fitted(steps: Reals, entries: IntegerArray) -> Knots | None:
    """The knots of fewest bytes whose results are within one step of all entries; None where they are no fewer bytes.

    steps:   (rows, 2^bits), what the function gives for each input, in steps of the output's grid with its zero point
             added: what `entries` rounds and clamps. Infinite at poles.
    entries: (rows, 2^bits).

    Every input is tried. Where the function is convex or concave, with second derivative f'' in output steps, a line
    over 2^p inputs is off by at most 4^p * |f''| / 8, the knots' own rounding by 2^-5 and the result's by 1/2.
    """
    bits = entries.shape[1].bit_length() - 1
    ends = int(entries.min()), int(entries.max())
    every, serves = _knots(steps), []
    for places in range(min(WIDEST_SEGMENT, bits) + 1):
        knots = every[:, :: 1 << places, None]
        sums = (knots[:, :-1] << places) + (knots[:, 1:] - knots[:, :-1]) * np.arange(1 << places)
        made = np.clip(_rounded(sums, places), *ends)
        far = np.abs(made - entries.reshape(made.shape).astype(np.int64)).max(axis=(0, 2))
        serves.append(far <= 1)
    if not serves[0].all():
        return None
    choices = {width: _widest(serves, width) for width in range(1, len(serves))}
    width, widest = min(choices.items(), key=lambda item: _bytes(len(every), *item))
    best = _kept(every, width, widest, ends)
    return best if best is not None and best.bytes < entries.nbytes else None


def _knots(steps: Reals) -> Integers:
    """Every input's knot, and one past the last, on the line through the last two."""
    limit = KNOT_MAGNITUDE >> KNOT_FRACTION
    within = np.clip(steps, -limit, limit)
    past = np.clip(2 * within[:, -1:] - within[:, -2:-1], -limit, limit)
    knots: Integers = np.floor(np.hstack([within, past]) * (1 << KNOT_FRACTION) + 0.5).astype(np.int64)
    return knots


def _widest(serves: list[npt.NDArray[np.bool_]], width: int) -> npt.NDArray[np.uint8]:
    """For each segment of 2^width inputs, the places of the fewest knots that serve all of it."""
    places = np.zeros(len(serves[width]), np.uint8)
    for one in range(1, width + 1):
        places[serves[one].reshape(len(places), -1).all(axis=1)] = one
    return places


def _bytes(rows: int, width: int, places: npt.NDArray[np.uint8]) -> int:
    """What so many segments and their knots take."""
    return 3 * len(places) + 4 * rows * (int(_sizes(width, places).sum()) + 1)


def _sizes(width: int, places: npt.NDArray[np.uint8]) -> Integers:
    """Knots of each segment."""
    return np.int64(1) << (width - places.astype(np.int64))


def _kept(every: Integers, width: int, places: npt.NDArray[np.uint8], ends: tuple[int, int]) -> Knots | None:
    """These knots of all; None where a start would not fit its 16 bits."""
    sizes = _sizes(width, places)
    starts = np.cumsum(sizes) - sizes
    if starts[-1] > np.iinfo(np.uint16).max:
        return None
    segment = np.repeat(np.arange(len(places)), sizes)
    nth = np.arange(len(segment)) - starts[segment]
    at = np.append((segment << width) + (nth << places[segment].astype(np.int64)), every.shape[1] - 1)
    return Knots(every[:, at].astype(np.int32), starts.astype(np.uint16), places, width, *ends)


def _rounded(sums: Integers, places: Integers | int) -> Integers:
    """Half up, once."""
    shift = places + np.int64(KNOT_FRACTION)
    return (sums + (np.int64(1) << (shift - 1))) >> shift
