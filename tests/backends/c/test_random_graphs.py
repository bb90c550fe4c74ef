"""Random integer graphs of every operation and width, as C under sanitizers, against the interpreter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from bitsmith.ir.integer import IntegerGraph
from tests.backends.c.agreement import HOST, assert_equal
from tests.strategies import KINDS, integer_graphs

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=40, suppress_health_check=SLOW)
@given(graph=integer_graphs(KINDS))
def test_graphs_of_any_operations(graph: IntegerGraph) -> None:
    assert_equal(graph)


@settings(max_examples=12, suppress_health_check=SLOW)
@given(graph=integer_graphs(["Conv"], most=2))
def test_convolutions_where_registers_are_many(graph: IntegerGraph) -> None:
    assert_equal(graph, target=replace(HOST, features=("registers",)))


@settings(max_examples=12, suppress_health_check=SLOW)
@given(graph=integer_graphs(["Conv", "Linear"], most=2))
def test_products_whatever_grid_weights_are_on(graph: IntegerGraph) -> None:
    assert_equal(graph)


@pytest.mark.parametrize(
    "kind",
    [
        *("Add", "Mul", "Concat", "Transpose", "Slice", "Resize", "Pad", "Reshape", "Table", "InterpolatedTable"),
        *("MatMul", "Softmax", "LayerNorm"),
    ],
)
def test_one_operation(kind: str) -> None:
    @settings(max_examples=6, suppress_health_check=SLOW)
    @given(graph=integer_graphs([kind], most=2))
    def holds(graph: IntegerGraph) -> None:
        assert_equal(graph)

    holds()
