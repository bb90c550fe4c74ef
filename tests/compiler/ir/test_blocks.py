"""Blocks cover all rows, in order and once, and are no larger than asked where a row is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.execution import sums
from bitsmith.execution.batches import vectors
from bitsmith.execution.interpreter import run
from bitsmith.ir.blocks import BLOCK, blocks
from bitsmith.ir.bounds import bounds
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import IntegerGraph, Linear, Requantize, Value


@given(rows=st.integers(0, 40), columns=st.integers(0, 40), block=st.integers(1, 200))
def test_blocks_cut_rows(rows: int, columns: int, block: int) -> None:
    cut = [range(rows)[part] for part in blocks(rows, rows * columns, block)]
    assert [row for part in cut for row in part] == list(range(rows))
    assert all(len(part) * columns <= max(block, columns) for part in cut)


def test_a_layer_of_many_blocks_is_bound_and_computed_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, inputs = 70, BLOCK // 64
    weight = np.random.default_rng(0).integers(-127, 128, (outputs, inputs))
    format, bias = Format(IntegerType(8), (1.0,)), np.arange(outputs)
    layer = Linear("y", ("x",), "y", weight, bias, format, Requantize(np.array([1 << 20]), 36, 0, -128, 127))
    values = {"x": Value("x", (inputs,), format), "y": Value("y", (outputs,), format)}
    graph = IntegerGraph("g", values, ("x",), ("y",), (layer,))
    assert bounds(graph).accumulators == {"y": int((np.abs(weight).sum(axis=1) * 128 + bias).max())}
    monkeypatch.setattr(sums, "WEIGHT_ELEMENTS", 3 * inputs)
    given = vectors(graph, 9, seed=0)
    accumulator = given["x"].astype(np.int64) @ weight.T + bias
    wanted = np.clip(((accumulator << 20) + (1 << 35)) >> 36, -128, 127)
    np.testing.assert_array_equal(run(graph, given)["y"], wanted)
