"""Which point stands against a uniform one, and around which points swaps are looked for: by calibration data alone."""

from dataclasses import replace

from bitsmith.ir.allocation import Allocation
from bitsmith.search.point import UNIFORM, Candidate, Point
from bitsmith.search.results import Results
from tests.compiler.search.points import point


def uniform(cost: float, accuracy: float, nats: float | None) -> Point:
    candidate = Candidate("uniform-4", UNIFORM, Allocation({"u": 4}), 4)
    return replace(point(cost, accuracy), candidate=candidate, nats=nats)


def results(points: list[Point]) -> Results:
    """As a search would end: the later a point, the less it is predicted to lose."""
    return Results(points, "flash", "top1", 0.9, False, {one.name: -float(i) for i, one in enumerate(points)})


def test_the_nearest_for_no_more_stands_against_a_uniform_point_whatever_its_accuracy() -> None:
    anchor = uniform(10, 0.8, 0.02)
    near = replace(point(9, 0.1, "near"), nats=0.01)
    lucky = replace(point(9, 0.99, "lucky"), nats=0.03)
    dear = replace(point(11, 0.99, "dear"), nats=0.001)
    found = results([anchor, near, lucky, dear]).at_size_of(anchor)
    assert (found.nearest, found.best) == (near, lucky)


def test_where_mixing_is_farther_off_the_uniform_point_stands_for_itself() -> None:
    anchor = uniform(10, 0.8, 0.02)
    assert results([anchor, replace(point(9, 0.9, "mixed"), nats=0.021)]).at_size_of(anchor).nearest == anchor


def test_without_calibration_data_it_is_the_one_of_least_predicted_loss() -> None:
    anchor = uniform(10, 0.8, None)
    mixed = point(9, 0.5, "mixed")
    assert results([anchor, mixed]).at_size_of(anchor).nearest == mixed
    assert results([mixed, anchor]).at_size_of(anchor).nearest == anchor


def test_nearness_takes_the_place_of_accuracy_where_it_is_known() -> None:
    assert replace(point(1, 0.5), nats=0.25).by_nearness().accuracy == -0.25
    assert point(1, 0.5).by_nearness() == point(1, 0.5)
