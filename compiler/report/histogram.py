"""A histogram of weights or activations with the grid that they are rounded to, as paths of an SVG picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitsmith.report.axis import Place, Tick, linear

WIDTH, TOP, BOTTOM = 336, 8, 96
"""Of the plot; ticks stand below."""

LINES = 40
"""Levels of a grid, beyond which the picture shows its ends alone."""


@dataclass(frozen=True)
class Plot:
    """real: the area of elements in float. stored: the line, or the stems, of what they became; empty if unknown.

    grid: of its levels, where they are few. ends: the left and the right of the grid. ticks: integers of the grid.
    levels: how many there are. outside: part of the elements beyond the grid's ends.
    """

    real: str
    stored: str
    grid: str
    ends: tuple[float, float]
    ticks: tuple[Tick, ...]
    levels: int
    outside: float
    count: int


def plot(spread: Mapping[str, Any]) -> Plot:
    """The picture of a spread as the manifest has it; heights are square roots, so that tails are seen."""
    first, width = spread["first"], spread["width"]
    real, stored, levels = spread["real"], spread["stored"], spread["levels"]
    lowest, highest = spread["lowest"], spread["highest"]
    last = max(first + width * max(len(real), len(stored)), highest + 0.5)
    across = linear(min(first, lowest - 0.5), last, 0, WIDTH)
    # Where bins are narrower than a step, all of a step's integers are in one: as high as its reals are on average.
    factor = min(width, 1.0)
    most = max([1.0, *real, *(count * factor for count in stored)])
    up = linear(0, math.sqrt(most), BOTTOM, TOP)
    heights = [math.sqrt(count) for count in real]
    stems = [math.sqrt(count * factor) for count in stored]
    is_fine = width < 1
    return Plot(
        _area(heights, first, width, across, up),
        _stems(stems, first, width, across, up) if is_fine else _outline(stems, first, width, across, up),
        "".join(f"M{across(level):g} {TOP}V{BOTTOM}" for level in levels) if 0 < len(levels) <= LINES else "",
        (across(lowest - 0.5), across(highest + 0.5)),
        tuple(Tick(across(value), f"{value:,}") for value in sorted({lowest, 0, highest}) if lowest <= value),
        len(levels) or highest - lowest + 1,
        _outside(real, first, width, lowest, highest),
        sum(real) or sum(stored),
    )


def _area(heights: Sequence[float], first: float, width: float, across: Place, up: Place) -> str:
    if not heights:
        return ""
    return _outline(heights, first, width, across, up) + f"V{BOTTOM}Z"


def _outline(heights: Sequence[float], first: float, width: float, across: Place, up: Place) -> str:
    if not heights:
        return ""
    text = f"M{across(first):g} {BOTTOM}"
    for index, height in enumerate(heights):
        text += f"V{up(height):g}H{across(first + (index + 1) * width):g}"
    return text


def _stems(heights: Sequence[float], first: float, width: float, across: Place, up: Place) -> str:
    places = ((across(first + (index + 0.5) * width), height) for index, height in enumerate(heights) if height)
    return "".join(f"M{x:g} {BOTTOM}V{up(height):g}" for x, height in places)


def _outside(counts: Sequence[int], first: float, width: float, lowest: int, highest: int) -> float:
    """The part of elements in bins that lie wholly beyond the ends of the grid."""
    beyond = sum(
        count
        for index, count in enumerate(counts)
        if first + (index + 1) * width <= lowest - 0.5 or first + index * width >= highest + 0.5
    )
    return beyond / (sum(counts) or 1)
