"""Random integer graphs of every operation, width and zero point, against the interpreter."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, reject, settings

from bitsmith.errors import UnsupportedError
from bitsmith.ir.integer import IntegerGraph
from tests.backends.rtl.agreement import assert_equal
from tests.strategies import integer_graphs

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
BITS = (4, 3, 5, 2, 6, 1, 8)


@settings(max_examples=25, suppress_health_check=SLOW, deadline=None)
@given(graph=integer_graphs(bits=BITS, most=3))
def test_graphs_of_any_operations(graph: IntegerGraph) -> None:
    equal_or_refused(graph)


@pytest.mark.parametrize(
    "kind", ["Add", "Mul", "Concat", "Transpose", "Slice", "Resize", "Pad", "Reshape", "Table", "InterpolatedTable"]
)
def test_one_operation(kind: str) -> None:
    @settings(max_examples=6, suppress_health_check=SLOW, deadline=None)
    @given(graph=integer_graphs([kind], bits=BITS, most=2))
    def holds(graph: IntegerGraph) -> None:
        equal_or_refused(graph)

    holds()


def equal_or_refused(graph: IntegerGraph) -> None:
    """Random requantize steps may ask for products that no width is known of."""
    try:
        assert_equal(graph)
    except UnsupportedError:
        reject()
