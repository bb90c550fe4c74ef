"""The front against brute force: of every two points, the one that beats the other."""

from hypothesis import given
from hypothesis import strategies as st

from bitsmith.search.front import dominates, dominator, front
from bitsmith.search.point import Point
from tests.compiler.search.points import point

Figures = list[tuple[int, int]]

# Few distinct numbers, so that ties in cost, in accuracy and in both are common.
FIGURES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14)


def points(figures: Figures) -> list[Point]:
    return [point(float(cost), accuracy / 8, f"p{index}") for index, (cost, accuracy) in enumerate(figures)]


def beaten(one: tuple[int, int], figures: Figures) -> bool:
    return any(
        (cost <= one[0] and accuracy > one[1]) or (cost < one[0] and accuracy >= one[1]) for cost, accuracy in figures
    )


@given(FIGURES)
def test_the_front_is_what_nothing_beats(figures: Figures) -> None:
    found = [(int(one.costs["flash"]), int(8 * one.accuracy)) for one in front(points(figures), "flash")]
    assert found == sorted({one for one in figures if not beaten(one, figures)})


@given(FIGURES)
def test_every_other_point_has_a_dominator_on_the_front(figures: Figures) -> None:
    all_points = points(figures)
    best = front(all_points, "flash")
    for figure, one in zip(figures, all_points, strict=True):
        above = dominator(one, all_points, "flash")
        assert (above is not None) == beaten(figure, figures)
        assert above is None or dominates(above, one, "flash")
        equal = {(found.costs["flash"], found.accuracy) for found in best}
        assert above is not None or (one.costs["flash"], one.accuracy) in equal


def test_a_point_does_not_dominate_its_equal() -> None:
    assert not dominates(point(4, 0.5, "a"), point(4, 0.5, "b"), "flash")
    assert [one.name for one in front([point(4, 0.5, "a"), point(4, 0.5, "b")], "flash")] == ["a"]
