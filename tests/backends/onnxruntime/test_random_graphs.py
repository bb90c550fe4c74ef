"""Random integer graphs of every operation but tables, whose random entries are of no function."""

from __future__ import annotations

import onnx
from hypothesis import HealthCheck, given, settings

from bitsmith.backends.onnxruntime import build_model, float_compute_nodes, optimize, serialize
from bitsmith.execution.batches import vectors
from bitsmith.ir.integer import IntegerGraph
from tests.backends.onnxruntime.agreement import assert_agrees
from tests.backends.onnxruntime.rescale import rescaled
from tests.strategies import KINDS, integer_graphs

BYTES = ("offset", "ternary", "k-means", "powers", "power-sums", "e2m3", "e2m1")
"""Grids whose integers fit a byte."""

GRAPHS = integer_graphs([kind for kind in KINDS if kind != "Table"], bits=(8, 8, 8, 7, 4, 2, 1), grids=BYTES).map(
    rescaled
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graph=GRAPHS)
def test_differs_by_one_step_at_most_and_only_on_ties(graph: IntegerGraph) -> None:
    model = build_model(graph)
    onnx.checker.check_model(model, full_check=True)
    assert float_compute_nodes(optimize(serialize(model))) == []
    assert_agrees(graph, vectors(graph, 8, seed=7))
