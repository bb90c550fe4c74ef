"""What a search says at its end: every point, which of them stand on the front, and how uniform widths compare."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bitsmith.execution.drift import surely_less
from bitsmith.search.compare import paired
from bitsmith.search.front import dominator, front
from bitsmith.search.point import UNIFORM, Point
from bitsmith.search.strategy import LITTLE

FRONT = "front.json"
FORMAT = "bitsmith front 1"

OPTIMISTIC = (
    "Points were chosen by the very figures that are given here, so those of the front are optimistic: "
    "expect a little less on other data."
)
HONEST = "Points were chosen on other data than these figures were taken on."


@dataclass(frozen=True)
class Contenders:
    """What costs no more than a uniform point.

    nearest: whose outputs are nearest to the float model's on the calibration data, if by more than which samples those
             are can explain; else the uniform point itself. The evaluation data had no part in choosing it, so a test
             of it is fair.
    best:    of greatest accuracy, which flatters it.
    """

    nearest: Point
    best: Point


@dataclass(frozen=True)
class Results:
    """A search as far as it got.

    cost:    what the front is traced against. metric: of `reported`; `compared_by`: of `accuracy`.
    float_accuracy: the metric of the float model on the evaluation data; None where the metric compares with it.
    held_out: whether points were compared on other data than the evaluation data.
    predicted: by name of a point, its loss as the integer program sees it.
    failed:  by name, why an allocation could not be compiled.
    """

    points: Sequence[Point]
    cost: str
    metric: str
    float_accuracy: float | None
    held_out: bool
    predicted: Mapping[str, float]
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def front(self) -> list[Point]:
        """The points that none dominates, cheapest first."""
        return front(self.points, self.cost)

    def to_json(self) -> dict[str, Any]:
        """What front.json holds."""
        best = self.front
        return {
            "format": FORMAT,
            "cost": self.cost,
            "metric": self.metric,
            "float": self.float_accuracy,
            "note": self.note,
            "failed": dict(self.failed),
            "front": [point.name for point in best],
            "uniform": [self._against(point) for point in self.uniform],
            "points": [self._point(point) for point in sorted(self.points, key=lambda one: one.costs[self.cost])],
        }

    @property
    def uniform(self) -> list[Point]:
        """The points of one width everywhere, cheapest first."""
        found = [point for point in self.points if point.candidate.origin == UNIFORM]
        return sorted(found, key=lambda point: point.costs[self.cost])

    @property
    def note(self) -> str:
        """How far these figures can be trusted."""
        return HONEST if self.held_out else OPTIMISTIC

    def at_size_of(self, point: Point, more: float = 0.0) -> Contenders:
        """What stands against a point at no more than its cost, or by such a part more."""
        most = (1 + more) * point.costs[self.cost]
        fitting = [one for one in self.points if one.costs[self.cost] <= most]
        if point.drift:
            nearer = [one for one in fitting if surely_less(one.drift, point.drift)]
            nearest = min(nearer, key=lambda one: sum(one.drift), default=point)
        else:
            nearest = min(fitting, key=lambda one: self.predicted[one.name])
        return Contenders(nearest, front(fitting, self.cost)[-1])

    def _against(self, point: Point) -> dict[str, Any]:
        against = self.at_size_of(point)
        return {
            "name": point.name,
            "cost": point.costs[self.cost],
            "accuracy": point.reported,
            "decibels": finite(point.decibels),
            "nats": point.nats,
            "nearest": _compared(against.nearest, point),
            "best": _compared(against.best, point),
            "for a little more": _compared(self.at_size_of(point, LITTLE).nearest, point),
        }

    def _point(self, point: Point) -> dict[str, Any]:
        above = dominator(point, self.points, self.cost)
        return {
            "name": point.name,
            "origin": point.candidate.origin,
            "costs": dict(point.costs),
            "accuracy": point.reported,
            **({"chosen_by": point.accuracy} if self.held_out else {}),
            "decibels": finite(point.decibels),
            "nats": point.nats,
            "predicted_loss": self.predicted[point.name],
            "seconds": round(point.seconds, 3),
            "dominated_by": None if above is None else above.name,
            "allocation": point.candidate.allocation.to_json(),
        }


def _compared(one: Point, other: Point) -> dict[str, Any]:
    """One point against another on the same samples."""
    found = {
        "name": one.name,
        "accuracy": one.reported,
        "decibels": finite(one.decibels),
        "nats": one.nats,
        "costs": dict(one.costs),
        "ahead": one.reported - other.reported,
    }
    if one.outcomes and other.outcomes:
        test = paired(one.outcomes, other.outcomes)
        found |= {"gained": test.gained, "lost": test.lost, "p": test.p}
    return found


def finite(value: float) -> float | None:
    """The ratio, or None for an infinite one."""
    return value if math.isfinite(value) else None
