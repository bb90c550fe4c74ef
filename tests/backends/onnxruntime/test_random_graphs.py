"""Random integer graphs of every operation but tables, whose random entries are of no function."""

from __future__ import annotations

import onnx
from hypothesis import HealthCheck, given, settings

from bitsmith.backends.onnxruntime import build_model, float_compute_nodes, optimize, serialize
from bitsmith.backends.onnxruntime.weights import in_float
from bitsmith.execution.batches import vectors
from bitsmith.ir.integer import IntegerGraph
from tests.backends.onnxruntime.agreement import assert_agrees
from tests.backends.onnxruntime.rescale import rescaled
from tests.strategies import KINDS, integer_graphs

GRAPHS = integer_graphs([kind for kind in KINDS if "Table" not in kind], bits=(8, 8, 8, 7, 4, 2, 1)).map(rescaled)
WIDE = integer_graphs([kind for kind in KINDS if "Table" not in kind], bits=(16, 16, 12, 8)).map(rescaled)
PRODUCTS = integer_graphs(["Conv", "Linear"], most=2, bits=(8, 4, 2)).map(rescaled)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graph=GRAPHS)
def test_differs_by_one_step_at_most_and_only_on_ties(graph: IntegerGraph) -> None:
    assert_runs(graph)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graph=PRODUCTS)
def test_so_it_does_whatever_grid_weights_are_on(graph: IntegerGraph) -> None:
    assert_runs(graph)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graph=WIDE)
def test_wide_activations_are_held_in_16_bits(graph: IntegerGraph) -> None:
    model = build_model(graph)
    onnx.checker.check_model(model, full_check=True)
    found = {node.split(" ", 1)[1] for node in float_compute_nodes(optimize(serialize(model)))}
    assert found <= in_float(graph)
    assert_agrees(graph, vectors(graph, 8, seed=7))


def assert_runs(graph: IntegerGraph) -> None:
    model = build_model(graph)
    onnx.checker.check_model(model, full_check=True)
    found = [node.split(" ", 1)[1] for node in float_compute_nodes(optimize(serialize(model)))]
    assert sorted(found) == sorted(in_float(graph))
    assert_agrees(graph, vectors(graph, 8, seed=7))
