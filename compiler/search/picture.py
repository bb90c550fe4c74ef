"""The front as a picture: every point, the front as a line through the best, uniform widths marked. One SVG file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from bitsmith.allocation.budgets import shown
from bitsmith.search.point import Point
from bitsmith.search.results import Results

TEMPLATE = "front.svg.j2"

WIDTH, HEIGHT = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 80, 820, 60, 430

Place = Callable[[float], float]


def draw(results: Results) -> str:
    """The picture as SVG: accuracy upwards, cost to the right, on a logarithmic scale where it spans more than 1 : 3.

    It reaches down to the least accurate point of the front; what lies lower stands on the bottom line.
    """
    best = results.front
    costs = [point.costs[results.cost] for point in results.points]
    across, x_ticks = _horizontal(min(costs), max(costs), results.cost)
    real = results.float_accuracy
    heights = [*([] if real is None else [real]), *(point.reported for point in best)]
    up, y_ticks = _vertical(min(heights), max(heights))

    def dot(point: Point) -> dict[str, Any]:
        cost = shown(results.cost, point.costs[results.cost])
        text = f"{point.name}: {results.metric} {point.reported:.4f} at {cost}"
        return {"x": across(point.costs[results.cost]), "y": up(point.reported), "text": text}

    def marked(point: Point) -> dict[str, Any]:
        label = f"{point.candidate.bits} bits"
        is_below = point.reported < min(heights)
        return {**dot(point), "label": f"{label} ({point.reported:.3f})" if is_below else label}

    names = {point.name for point in (*best, *results.uniform)}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("bitsmith.templates") / TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=RIGHT,
        top=TOP,
        bottom=BOTTOM,
        title=f"{results.metric} against {results.cost}: {len(results.points)} points, {len(best)} on the front",
        note=results.note,
        x_label=results.cost,
        y_label=results.metric,
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        float_model=None if real is None else {"place": up(real), "text": f"{real:.4f}"},
        others=[dot(point) for point in results.points if point.name not in names],
        steps=_steps([(across(point.costs[results.cost]), up(point.reported)) for point in best]),
        best=[dot(point) for point in best],
        uniform=[marked(point) for point in results.uniform],
    )


def _horizontal(lowest: float, highest: float, cost: str) -> tuple[Place, list[dict[str, Any]]]:
    """Where a cost stands, and the ticks."""
    is_wide = lowest > 0 and highest > 3 * lowest
    scale: Place = math.log if is_wide else float
    start, end = scale(lowest), scale(highest)
    margin = 0.04 * (end - start) or 1.0
    start, end = start - margin, end + margin
    place = _linear(start, end, LEFT, RIGHT)
    values = _doubling(lowest, highest) if highest > 8 * lowest > 0 else _round_steps(lowest, highest)
    ticks = [{"place": place(scale(value)), "text": shown(cost, value)} for value in values]
    return lambda value: place(scale(value)), ticks


def _vertical(lowest: float, highest: float) -> tuple[Place, list[dict[str, Any]]]:
    """Where an accuracy stands, and the ticks; whatever is too low stands at the bottom."""
    margin = 0.08 * (highest - lowest) or 0.01
    place = _linear(lowest - margin, highest + margin, BOTTOM, TOP)
    ticks = [{"place": place(value), "text": f"{value:.4g}"} for value in _round_steps(lowest, highest)]
    return lambda value: min(place(value), BOTTOM), ticks


def _linear(start: float, end: float, first: float, last: float) -> Place:
    return lambda value: round(first + (value - start) / (end - start) * (last - first), 1)


def _round_steps(lowest: float, highest: float, about: int = 6) -> list[float]:
    """Round numbers between two others: multiples of 1, 2 or 5 times a power of ten."""
    raw = (highest - lowest) / about
    if raw <= 0:
        return [lowest]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [index * step for index in range(math.ceil(lowest / step), math.floor(highest / step) + 1)]


def _doubling(lowest: float, highest: float) -> list[float]:
    """Numbers of two digits between two others, each twice or four times the one before."""
    digits = 10.0 ** (math.floor(math.log10(lowest)) - 1)
    first, ratio = math.ceil(lowest / digits) * digits, 2 if highest / lowest < 200 else 4
    found = [first * ratio**index for index in range(int(math.log(highest / first, ratio)) + 1)]
    return [value for value in found if value <= highest] or [lowest, highest]


def _steps(places: Sequence[tuple[float, float]]) -> str:
    """A staircase: for every cost, the accuracy of the best point that costs no more."""
    corners = []
    for index, (x, y) in enumerate(places):
        if index:
            corners.append((x, places[index - 1][1]))
        corners.append((x, y))
    corners += [(RIGHT, places[-1][1])] if places else []
    return " ".join(f"{x},{y}" for x, y in corners)
