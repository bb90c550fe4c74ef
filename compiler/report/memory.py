"""The memory of an artifact over time: what lies where, from which step to which, and the fullest step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bitsmith.report.axis import Tick, linear
from bitsmith.report.layers import in_use
from bitsmith.report.texts import tail

LEFT, TOP, HEIGHT, BELOW = 66, 26, 300, 120
WIDTH, NARROWEST, WIDEST = 1150, 1, 90
"""Of the picture, and of a step in it, at least and at most."""

NAMED = 60
"""Steps, beyond which their names are left out of the picture and blocks have no texts of their own."""

COLOURS = 6

LINE, LETTER = 13, 6.4
"""Height and width that a label takes, and one of its letters."""


@dataclass(frozen=True)
class Rectangle:
    """A block as a rectangle: its colour by number, or `scratch`; the text of it, and what fits into it."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    text: str
    label: str


@dataclass(frozen=True)
class Row:
    """A step in the table: its operations, the bytes in use, and what of them holds what."""

    names: str
    bytes: int
    blocks: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class MemoryPicture:
    """peak: the index of the fullest step. step: its width. rows: the same as a table."""

    width: float
    left: float
    top: float
    bottom: float
    bytes: int
    peak: int
    step: float
    rectangles: tuple[Rectangle, ...]
    bytes_ticks: tuple[Tick, ...]
    step_ticks: tuple[Tick, ...]
    fullest: str
    rows: tuple[Row, ...]

    @property
    def height(self) -> float:
        """Of the picture, names of steps included."""
        return self.bottom + (BELOW if self.step_ticks else 24)

    @property
    def peak_at(self) -> float:
        """Where the fullest step begins."""
        return round(self.left + self.peak * self.step, 1)


def draw(memory: Mapping[str, Any]) -> MemoryPicture | None:
    """The picture of a memory map as the manifest has it; None of one without steps."""
    steps: Sequence[Sequence[str]] = memory["steps"]
    if not steps or not memory["bytes"]:
        return None
    step = min(max((WIDTH - LEFT) / len(steps), NARROWEST), WIDEST)
    bottom = TOP + HEIGHT
    up = linear(0, memory["bytes"], bottom, TOP)
    blocks = memory["blocks"]
    used = [in_use(blocks, index) for index in range(len(steps))]
    is_named = len(steps) <= NAMED
    unit, size = ("KiB", 1024) if memory["bytes"] >= 4096 else ("bytes", 1)
    peak = max(range(len(steps)), key=used.__getitem__)
    names = [" to ".join(dict.fromkeys((one[0], one[-1]))) if one else "" for one in steps]
    return MemoryPicture(
        round(LEFT + step * len(steps) + 12),
        LEFT,
        TOP,
        bottom,
        memory["bytes"],
        peak,
        round(step, 2),
        _readable(
            _rectangle(one, index, step, up(one["offset"]), up(one["offset"] + one["bytes"]), is_named)
            for index, one in enumerate(blocks)
        ),
        tuple(Tick(up(value), f"{value / size:g} {unit}") for value in _whole_steps(memory["bytes"])),
        tuple(Tick(round(LEFT + (i + 0.5) * step, 1), tail(name, 22)) for i, name in enumerate(names) if is_named),
        f"{names[peak]}, {used[peak]:,} bytes in use",
        tuple(
            Row(names[i], used[i], tuple((one["name"], one["offset"], one["bytes"]) for one in _alive(blocks, i)))
            for i in range(len(steps) if is_named else 0)
        ),
    )


def _alive(blocks: Sequence[Mapping[str, Any]], step: int) -> list[Mapping[str, Any]]:
    return sorted((one for one in blocks if one["first"] <= step <= one["last"]), key=lambda one: int(one["offset"]))


def _rectangle(block: Mapping[str, Any], index: int, step: float, low: float, high: float, named: bool) -> Rectangle:
    width = (block["last"] - block["first"] + 1) * step
    name = block["name"]
    fits = named and low - high >= LINE and not block["scratch"]
    # In its last step, what is made of a value may be written over it.
    room = int((max(width - step, step) - 6) / LETTER)
    return Rectangle(
        round(LEFT + block["first"] * step, 1),
        high,
        round(width, 1),
        round(low - high, 1),
        "scratch" if block["scratch"] else str(index % COLOURS),
        f"{name}: {block['bytes']:,} bytes at {block['offset']:,}" if named else "",
        tail(name, room) if fits and room >= min(len(name), 9) else "",
    )


def _readable(rectangles: Iterable[Rectangle]) -> tuple[Rectangle, ...]:
    """The rectangles, without the labels that one before is in the way of."""
    found: list[Rectangle] = []
    for one in rectangles:
        is_free = all(
            not other.label
            or abs(one.y - other.y) >= LINE
            or one.x >= other.x + LETTER * len(other.label)
            or other.x >= one.x + LETTER * len(one.label)
            for other in found
        )
        found.append(one if is_free else replace(one, label=""))
    return tuple(found)


def _whole_steps(most: int) -> list[int]:
    """Round numbers of bytes, by powers of two, about five of them."""
    step = 1
    while most / step > 6:
        step *= 2
    return list(range(0, most + 1, step))
