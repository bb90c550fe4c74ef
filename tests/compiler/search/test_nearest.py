"""Which point stands against a uniform one, and around which points swaps are looked for: by calibration data alone."""

from dataclasses import replace

from bitsmith.ir.allocation import Allocation
from bitsmith.search.point import UNIFORM, Candidate, Point
from bitsmith.search.results import Results
from tests.compiler.search.points import point

SAMPLES = 20


def drift(nats: float, spread: float = 0.001) -> tuple[float, ...]:
    """Of so many nats in the mean, every other sample by `spread` more or less."""
    return tuple(nats + spread * (-1) ** index for index in range(SAMPLES))


def uniform(cost: float, accuracy: float, drift: tuple[float, ...]) -> Point:
    candidate = Candidate("uniform-4", UNIFORM, Allocation({"u": 4}), 4)
    return replace(point(cost, accuracy), candidate=candidate, drift=drift)


def results(points: list[Point]) -> Results:
    """As a search would end: the later a point, the less it is predicted to lose."""
    return Results(points, "flash", "top1", 0.9, False, {one.name: -float(i) for i, one in enumerate(points)})


def test_the_nearest_for_no_more_stands_against_a_uniform_point_whatever_its_accuracy() -> None:
    anchor = uniform(10, 0.8, drift(0.02))
    near = replace(point(9, 0.1, "near"), drift=drift(0.01))
    nearly = replace(point(9, 0.1, "nearly"), drift=drift(0.012))
    lucky = replace(point(9, 0.99, "lucky"), drift=drift(0.03))
    dear = replace(point(11, 0.99, "dear"), drift=drift(0.001))
    found = results([anchor, near, nearly, lucky, dear]).at_size_of(anchor)
    assert (found.nearest, found.best) == (near, lucky)


def test_where_mixing_is_farther_off_or_not_surely_nearer_the_uniform_point_stands_for_itself() -> None:
    anchor = uniform(10, 0.8, drift(0.02))
    for mixed in (drift(0.021), drift(0.02), drift(0.0199, 0.002)):
        assert results([anchor, replace(point(9, 0.9, "mixed"), drift=mixed)]).at_size_of(anchor).nearest == anchor


def test_without_calibration_data_it_is_the_one_of_least_predicted_loss() -> None:
    anchor = uniform(10, 0.8, ())
    mixed = point(9, 0.5, "mixed")
    assert results([anchor, mixed]).at_size_of(anchor).nearest == mixed
    assert results([mixed, anchor]).at_size_of(anchor).nearest == anchor


def test_nearness_takes_the_place_of_accuracy_where_it_is_known() -> None:
    assert replace(point(1, 0.5), drift=(0.5, 0.0)).by_nearness().accuracy == -0.25
    assert point(1, 0.5).by_nearness() == point(1, 0.5)


def test_a_little_more_may_be_asked_for() -> None:
    anchor = uniform(100, 0.8, drift(0.02))
    dearer = replace(point(105, 0.1, "dearer"), drift=drift(0.01))
    too_dear = replace(point(106, 0.1, "too dear"), drift=drift(0.001))
    asked = results([anchor, dearer, too_dear])
    assert asked.at_size_of(anchor).nearest == anchor
    assert asked.at_size_of(anchor, 0.05).nearest == dearer
    (told,) = asked.to_json()["uniform"]
    assert (told["nearest"]["name"], told["for a little more"]["name"]) == ("uniform-4", "dearer")
