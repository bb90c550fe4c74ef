"""The Pareto front: the points that no other point beats in both cost and accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from bitsmith.search.point import Point


def dominates(one: Point, other: Point, cost: str) -> bool:
    """Whether `one` costs no more than `other`, is no less accurate, and is better in one of the two."""
    if one.costs[cost] > other.costs[cost] or one.accuracy < other.accuracy:
        return False
    return one.costs[cost] < other.costs[cost] or one.accuracy > other.accuracy


def front(points: Sequence[Point], cost: str) -> list[Point]:
    """The points that none dominates, cheapest first; of several that are equal in both, the first one given.

    A sweep in order of cost: a point is on the front if it is more accurate than all that cost less
    (Kung, Luccio and Preparata 1975, doi:10.1145/321906.321910, for two dimensions).
    """
    best: list[Point] = []
    for point in sorted(points, key=lambda one: (one.costs[cost], -one.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


def dominator(point: Point, points: Sequence[Point], cost: str) -> Point | None:
    """The point that dominates `point` and is the most accurate of those that do; None on the front."""
    above = [other for other in points if dominates(other, point, cost)]
    return max(above, key=lambda one: (one.accuracy, -one.costs[cost]), default=None)
