"""The front of a search as a picture and as a page: every point, the best of each size, uniform widths, the bits."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bitsmith.allocation.budgets import shown
from bitsmith.artifact import REPORT
from bitsmith.report.axis import Place, Tick, doubling, linear, round_steps
from bitsmith.report.templates import fill
from bitsmith.report.texts import score_text, tail
from bitsmith.search.point import UNIFORM

WIDTH, HEIGHT = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 80, 820, 60, 430

CELLS = 60
"""Layers whose bits are shown side by side, at most."""


@dataclass(frozen=True)
class Dot:
    """A point of the search. label: what is written beside it, on its right or left; empty for most."""

    x: float
    y: float
    text: str
    label: str = ""

    @property
    def is_left(self) -> bool:
        """Whether there is no room on its right."""
        return self.x > RIGHT - 70


@dataclass(frozen=True)
class Picture:
    """steps: the corners of the front's staircase. real: the float model, where the metric is not a distance to it."""

    title: str
    note: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    real: Tick | None
    others: tuple[Dot, ...]
    best: tuple[Dot, ...]
    uniform: tuple[Dot, ...]
    steps: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM


@dataclass(frozen=True)
class Row:
    """A point in the table. bits: of its weights, by layer. link: to the page of its artifact, where that is kept."""

    name: str
    cost: str
    accuracy: str
    decibels: float | None
    bits: tuple[float, ...]
    link: str


def draw(front: Mapping[str, Any]) -> str:
    """The picture of a front.json, one SVG file."""
    return fill("front.svg.j2", {"picture": picture(front)})


def render(front: Mapping[str, Any], folder: Path, beside: Path | None = None) -> str:
    """The page of a front.json. folder: where artifacts of its points may be, in `points/`.

    beside: the folder that the page is for, from which its links lead; as a rule the same.
    """
    points = {point["name"]: point for point in front["points"]}
    best = [_row(points[name], front, folder, folder if beside is None else beside) for name in front["front"]]
    layers = list(front["points"][0]["allocation"]["weights"])
    return fill(
        "front.html.j2",
        {
            "front": front,
            "picture": picture(front),
            "rows": best,
            "layers": [tail(name, 24) for name in layers[:CELLS]],
            "hidden": max(len(layers) - CELLS, 0),
            "uniform": [{**one, "text": _text(front, one["accuracy"])} for one in front["uniform"]],
            "real": None if front["float"] is None else _text(front, front["float"]),
            "title": folder.resolve().name,
        },
    )


def picture(front: Mapping[str, Any]) -> Picture:
    """Accuracy upwards, cost to the right, on a logarithmic scale where it spans more than 1 : 3.

    It reaches down to the least accurate point of the front; what lies lower stands on the bottom line.
    """
    cost, metric, points, real = front["cost"], front["metric"], front["points"], front["float"]
    by_name = {point["name"]: point for point in points}
    best = [by_name[name] for name in front["front"]]
    uniform = [by_name[one["name"]] for one in front["uniform"]]
    costs = [point["costs"][cost] for point in points]
    across, x_ticks = _horizontal(min(costs), max(costs), cost)
    heights = [*([] if real is None else [real]), *(point["accuracy"] for point in best)]
    up, y_ticks = _vertical(min(heights), max(heights))

    def dot(point: Mapping[str, Any], label: str = "") -> Dot:
        at = point["costs"][cost]
        text = f"{point['name']}: {metric} {point['accuracy']:.4f} at {shown(cost, at)}"
        return Dot(across(at), up(point["accuracy"]), text, label)

    def marked(point: Mapping[str, Any]) -> Dot:
        label = f"{point['name'].removeprefix(f'{UNIFORM}-')} bits"
        is_below = point["accuracy"] < min(heights)
        return dot(point, f"{label} ({point['accuracy']:.3f})" if is_below else label)

    names = {point["name"] for point in (*best, *uniform)}
    return Picture(
        f"{metric} against {cost}: {len(points)} points, {len(best)} on the front",
        front["note"],
        cost,
        metric,
        tuple(x_ticks),
        tuple(y_ticks),
        None if real is None else Tick(up(real), f"{real:.4f}"),
        tuple(dot(point) for point in points if point["name"] not in names),
        tuple(map(dot, best)),
        tuple(_apart([marked(point) for point in uniform])),
        _steps([(across(point["costs"][cost]), up(point["accuracy"])) for point in best]),
    )


def _apart(dots: Sequence[Dot]) -> list[Dot]:
    """Dots whose labels would be written over each other share one, that of the lowest."""
    found: list[Dot] = []
    for dot in sorted(dots, key=lambda one: -one.y):
        near = next((i for i, o in enumerate(found) if o.label and abs(o.x - dot.x) < 60 and abs(o.y - dot.y) < 14), -1)
        if near < 0:
            found.append(dot)
        else:
            both = sorted([*found[near].label.removesuffix(" bits").split(", "), dot.label.removesuffix(" bits")])
            found[near] = replace(found[near], label=f"{', '.join(both)} bits")
            found.append(replace(dot, label=""))
    return found


def _row(point: Mapping[str, Any], front: Mapping[str, Any], folder: Path, beside: Path) -> Row:
    page = folder / "points" / point["name"] / REPORT
    return Row(
        point["name"],
        shown(front["cost"], point["costs"][front["cost"]]),
        _text(front, point["accuracy"]),
        point["decibels"],
        tuple(map(float, point["allocation"]["weights"].values()))[:CELLS],
        quote(Path(os.path.relpath(page, beside)).as_posix()) if page.is_file() else "",
    )


def _text(front: Mapping[str, Any], accuracy: float) -> str:
    return score_text({"metric": front["metric"], "value": accuracy})


def _horizontal(lowest: float, highest: float, cost: str) -> tuple[Place, list[Tick]]:
    """Where a cost stands, and the ticks."""
    is_wide = lowest > 0 and highest > 3 * lowest
    scale: Place = math.log if is_wide else float
    start, end = scale(lowest), scale(highest)
    margin = 0.04 * (end - start) or 1.0
    place = linear(start - margin, end + margin, LEFT, RIGHT)
    values = doubling(lowest, highest) if highest > 8 * lowest > 0 else round_steps(lowest, highest)
    ticks = [Tick(place(scale(value)), shown(cost, value)) for value in values]
    return lambda value: place(scale(value)), ticks


def _vertical(lowest: float, highest: float) -> tuple[Place, list[Tick]]:
    """Where an accuracy stands, and the ticks; whatever is too low stands at the bottom."""
    margin = 0.08 * (highest - lowest) or 0.01
    place = linear(lowest - margin, highest + margin, BOTTOM, TOP)
    ticks = [Tick(place(value), f"{value:.4g}") for value in round_steps(lowest, highest)]
    return lambda value: min(place(value), BOTTOM), ticks


def _steps(places: Sequence[tuple[float, float]]) -> str:
    """A staircase: for every cost, the accuracy of the best point that costs no more."""
    corners = []
    for index, (x, y) in enumerate(places):
        if index:
            corners.append((x, places[index - 1][1]))
        corners.append((x, y))
    corners += [(RIGHT, places[-1][1])] if places else []
    return " ".join(f"{x},{y}" for x, y in corners)
