"""Axes of pictures: where a number stands, and the round numbers that are written beside them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Place = Callable[[float], float]


@dataclass(frozen=True)
class Tick:
    """place: in the picture. text: what is written there."""

    place: float
    text: str


def linear(start: float, end: float, first: float, last: float) -> Place:
    """Takes [start, end] to [first, last], which may run backwards; to a tenth."""
    span = end - start or 1.0
    return lambda value: round(first + (value - start) / span * (last - first), 1)


def round_steps(lowest: float, highest: float, about: int = 6) -> list[float]:
    """Round numbers between two others: multiples of 1, 2 or 5 times a power of ten."""
    raw = (highest - lowest) / about
    if raw <= 0:
        return [lowest]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [index * step for index in range(math.ceil(lowest / step), math.floor(highest / step) + 1)]


def doubling(lowest: float, highest: float) -> list[float]:
    """Numbers of two digits between two others, each twice or four times the one before."""
    digits = 10.0 ** (math.floor(math.log10(lowest)) - 1)
    first, ratio = math.ceil(lowest / digits) * digits, 2 if highest / lowest < 200 else 4
    found = [first * ratio**index for index in range(int(math.log(highest / first, ratio)) + 1)]
    return [value for value in found if value <= highest] or [lowest, highest]
