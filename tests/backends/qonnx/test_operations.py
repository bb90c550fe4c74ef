"""Every op, at random widths: what is not refused by name is exact in qonnx, value by value."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from bitsmith.backends.qonnx import build_model
from bitsmith.backends.qonnx.capabilities import node_refusals
from bitsmith.errors import UnsupportedError
from bitsmith.ir.bounds import bounds
from tests.backends.qonnx.agreement import assert_equal
from tests.backends.qonnx.lowered import integers, normalised
from tests.integration.onnx_cases import CASES

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=8, suppress_health_check=SLOW)
@given(data=st.data())
def test_refused_by_name_or_exact(name: str, data: st.DataObject) -> None:
    case = data.draw(CASES[name])
    weights, activations = data.draw(st.integers(2, 8)), data.draw(st.integers(2, 8))
    granularity = data.draw(st.sampled_from(["tensor", "channel"]))
    refused = node_refusals(normalised(case.model))
    graph = integers(case.model, case.inputs, weights, activations, granularity)
    if refused:
        assert all(one.reason for one in refused)
        assert all(one.where for one in refused)
        return
    try:
        assert_equal(graph)
    except UnsupportedError as refusal:
        # Only the integer graph has the numbers that say whether a short multiplier divides every sum rightly.
        if not (refusal.where.startswith("AveragePool ") and "no multiplier that float32 holds" in refusal.what):
            raise


@pytest.mark.parametrize("name", ["conv", "gemm"])
@settings(max_examples=10, suppress_health_check=SLOW)
@given(data=st.data())
def test_wide_sums_are_refused_where_float32_does_not_hold_them(name: str, data: st.DataObject) -> None:
    case = data.draw(CASES[name])
    weights, activations = data.draw(st.integers(8, 16)), data.draw(st.integers(8, 16))
    try:
        graph = integers(case.model, case.inputs, weights, activations)
    except UnsupportedError:
        reject()  # not even int32 holds them
    sums = max(bounds(graph).accumulators.values())
    if sums < 1 << 23:  # half a step on top of that is at most as much again
        assert_equal(graph)
    elif sums >= 1 << 24:
        with pytest.raises(UnsupportedError, match="beyond the 2\\^24 up to which float32 is exact"):
            build_model(graph)
