"""Products by tables, for cores without a multiplier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from bitsmith.backends.c import build
from bitsmith.backends.c.kernels.planes import bit_planes, plane_count
from bitsmith.ir.integer import IntegerGraph
from tests.backends.c.agreement import HOST, assert_equal
from tests.backends.onnxruntime.graphs import conv, linear
from tests.strategies import integer_graphs

WITHOUT = replace(HOST, features=("no-multiply",))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("kernel", [1, 3])
def test_convolutions(bits: int, kernel: int) -> None:
    program = assert_equal(conv((5, 4), channels=8, kernel=kernel, weight_bits=bits), target=WITHOUT)
    assert [step.kernel.family for step in program.steps] == ["tables"]


@pytest.mark.parametrize("inputs", [8, 13, 64])
def test_linear_layers(inputs: int) -> None:
    program = assert_equal(linear((inputs,)), target=WITHOUT)
    assert [step.kernel.family for step in program.steps] == ["tables"]


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graph=integer_graphs(["Conv", "Linear"], most=2))
def test_whatever_is_too_wide_for_tables_is_multiplied(graph: IntegerGraph) -> None:
    assert_equal(graph, target=WITHOUT)


def test_planes_are_the_bits_of_weights() -> None:
    rows = np.array([[-8, 7, 0, 3, -1], [1, 2, 4, -5, 6]])
    assert plane_count(rows) == 4
    planes = bit_planes(rows, 4)
    assert planes.shape == (2, 4, 1)
    bits = np.unpackbits(planes, axis=2, bitorder="little").astype(np.int64)
    weighted = np.array([-8, 4, 2, 1])[None, :, None] * bits
    np.testing.assert_array_equal(weighted.sum(axis=1)[:, :5], rows)


@pytest.mark.parametrize(("graph", "whole"), [(linear((203,)), 26 * 64), (conv((5, 4), channels=24), 27 * 64)])
def test_little_memory_takes_tables_by_and_by(graph: IntegerGraph, whole: int) -> None:
    """Each budget is kept, by ever fewer tables at a time, before anything is multiplied."""
    program = build(graph, WITHOUT)
    assert program.steps[0].kernel.scratch >= whole
    totals = [program.memory.total]
    while "at a time" in program.steps[0].kernel.note or len(totals) == 1:
        limit = totals[-1] - 1
        program = assert_equal(graph, target=replace(WITHOUT, ram=limit))
        assert program.memory.total <= limit
        totals.append(program.memory.total)
    assert len(totals) > 4
    assert program.steps[0].kernel.family != "tables"


def test_a_budget_that_is_kept_changes_nothing() -> None:
    graph = linear((203,))
    program = build(graph, WITHOUT)
    kept = build(graph, replace(WITHOUT, ram=program.memory.total))
    assert kept.steps[0].kernel.note == program.steps[0].kernel.note
