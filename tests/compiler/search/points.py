"""Points that were never measured, for tests."""

from bitsmith.ir.allocation import Allocation
from bitsmith.search.point import PROGRAM, Candidate, Point


def point(cost: float, accuracy: float, name: str = "p", outcomes: tuple[bool, ...] = ()) -> Point:
    candidate = Candidate(name, PROGRAM, Allocation({name: 4}))
    return Point(candidate, {"flash": cost, "ram": 1.0}, accuracy, accuracy, 20.5, 1.25, (), outcomes)
