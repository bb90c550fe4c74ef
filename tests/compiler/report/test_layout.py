"""Layered drawings: nothing overlaps, and every line leads down from box to box."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from bitsmith.report.layout import Edge, Size, isotonic, lay_out

SIZE = Size(width=100, height=40, across=10, down=20)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[Edge]]:
    count = draw(st.integers(1, 25))
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] < pair[1])
    edges = draw(st.lists(pairs, unique=True, max_size=40)) if count > 1 else []
    return count, edges


@given(graphs())
def test_boxes_stand_apart_and_lines_lead_down(graph: tuple[int, list[Edge]]) -> None:
    count, edges = graph
    layout = lay_out(count, edges, SIZE)
    for index, (x, y) in enumerate(layout.boxes):
        assert SIZE.width / 2 - 1e-6 <= x <= layout.width - SIZE.width / 2 + 1e-6
        assert SIZE.height / 2 <= y <= layout.height - SIZE.height / 2
        for other_x, other_y in layout.boxes[:index]:
            assert y != other_y or abs(x - other_x) >= SIZE.width + SIZE.across - 1e-6
    for (start, end), route in zip(edges, layout.routes, strict=True):
        assert route[0] == (layout.boxes[start][0], layout.boxes[start][1] + SIZE.height / 2)
        assert route[-1] == (layout.boxes[end][0], layout.boxes[end][1] - SIZE.height / 2)
        assert all(before[1] < after[1] for before, after in pairwise(route))
        for x, y in route[1:-1]:
            for box_x, box_y in layout.boxes:
                assert abs(x - box_x) >= SIZE.width / 2 or abs(y - box_y) > SIZE.height / 2


def test_a_chain_is_straight_and_a_residual_goes_beside_it() -> None:
    layout = lay_out(4, [(0, 1), (1, 2), (2, 3), (0, 3)], SIZE)
    assert len({y for _, y in layout.boxes}) == 4
    assert layout.boxes[1][0] == layout.boxes[2][0]
    assert abs(layout.routes[3][1][0] - layout.boxes[1][0]) > SIZE.width / 2


def test_an_input_stands_right_above_its_first_reader() -> None:
    layout = lay_out(4, [(0, 1), (1, 3), (2, 3)], SIZE)
    assert layout.boxes[2][1] == layout.boxes[1][1]


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0.1, 10)), min_size=1, max_size=30))
def test_places_are_the_isotonic_regression_of_wishes(given: list[tuple[float, float]]) -> None:
    wishes, weights = map(list, zip(*given, strict=True))
    np.testing.assert_allclose(isotonic(wishes, weights), isotonic_regression(wishes, weights=weights).x, atol=1e-6)
