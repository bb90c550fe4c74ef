"""Where accuracy was lost along the network, as a picture: errors so far as a line, each layer alone as a dot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitsmith.report.axis import Tick, linear, round_steps
from bitsmith.report.layers import Figure, Layer
from bitsmith.report.texts import grade, mapping, ratio_text, tail

LEFT, RIGHT, TOP, BOTTOM = 44, 888, 14, 220
MOST = 60.0
"""Decibels at the upper end: what is better, or lossless, stands there."""

TEXTS = 200
"""Dots, beyond which they have no texts of their own."""


@dataclass(frozen=True)
class Dot:
    """A layer alone: how much it leaves of the outputs."""

    x: float
    y: float
    grade: str
    text: str


@dataclass(frozen=True)
class Label:
    """The name of a dot, and to which side of it it is written."""

    x: float
    y: float
    anchor: str
    text: str


@dataclass(frozen=True)
class Chart:
    """line: the points of the errors so far. dots: of layers alone. label: of the lowest. steps: places of layers."""

    line: str
    dots: tuple[Dot, ...]
    label: Label | None
    ticks: tuple[Tick, ...]
    steps: tuple[Tick, ...]
    left: float = LEFT
    right: float = RIGHT
    top: float = TOP
    bottom: float = BOTTOM


def draw(manifest: Mapping[str, Any], layers: Sequence[Layer]) -> Chart | None:
    """The chart of what was measured of the layers; None where nothing was."""
    points: list[tuple[str, Figure, Figure]] = [(layer.name, layer.so_far, layer.alone) for layer in layers]
    measured = [level for _, *both in points for level in map(_level, both) if level is not None]
    if not measured or not mapping(manifest, "explain"):
        return None
    across = linear(0, max(len(points) - 1, 1), LEFT + 8, RIGHT - 8)
    lowest = min(0.0, *measured)
    up = linear(lowest, MOST, BOTTOM, TOP)
    line = [(across(i), up(level)) for i, (_, so_far, _) in enumerate(points) if (level := _level(so_far)) is not None]
    worst = min((layer for layer in layers if layer.badness < MOST), key=lambda one: one.badness, default=None)
    last = len(points) - 1
    return Chart(
        " ".join(f"{x:g},{y:g}" for x, y in line),
        tuple(
            Dot(across(i), up(level), grade(alone), f"{name}: {ratio_text(alone)} alone" if i < TEXTS else "")
            for i, (name, _, alone) in enumerate(points)
            if (level := _level(alone)) is not None
        ),
        None if worst is None else _label(worst, across(worst.index), up(min(worst.badness, MOST)), last),
        tuple(Tick(up(value), f"{value:g} dB") for value in round_steps(lowest, MOST)),
        tuple(Tick(across(place), f"{place + 1:g}") for place in round_steps(0, last, 10) if place == int(place)),
    )


def _label(layer: Layer, x: float, y: float, last: int) -> Label:
    """Beside a dot, on the side that has room."""
    is_left = layer.index > last / 2
    return Label(x - 8 if is_left else x + 8, y + 4, "end" if is_left else "start", tail(layer.name, 28))


def _level(figure: Figure) -> float | None:
    """Where a figure stands: no higher than the chart goes."""
    if isinstance(figure, int | float):
        return min(float(figure), MOST)
    return MOST if figure == "lossless" else None
