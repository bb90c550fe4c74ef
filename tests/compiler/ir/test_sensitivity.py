from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.errors import PipelineError
from bitsmith.ir.allocation import Allocation
from bitsmith.ir.sensitivity import Sensitivity, falling

MEASURED = Sensitivity(
    "direct",
    {"w": {1.6: 0.75, 2: 0.5, 4: 0.125, 8: 0.0}, "v": {2: 0.25, 4: 0.0}},
    {"a": {4: 1.0, 8: 0.5}},
    {("w", 2, "v", 2): 0.0625, ("w", 2, "a", 8): -0.25},
)


def test_losses_add_and_interactions_count_where_both_ends_hold() -> None:
    assert MEASURED.predicted(Allocation({"w": 2, "v": 4}, {"a": 4})) == 1.5
    assert MEASURED.predicted(Allocation({"w": 2, "v": 2})) == 0.5 + 0.25 + 0.0625
    assert MEASURED.predicted(Allocation({"w": 2}, {"a": 8})) == 0.5 + 0.5 - 0.25


def test_bits_above_what_was_measured_lose_nothing_and_others_are_an_error() -> None:
    assert MEASURED.predicted(Allocation({"v": 8}, {"a": 16, "member of a": 16})) == 0
    with pytest.raises(PipelineError, match="no loss of w at 3 bits"):
        MEASURED.predicted(Allocation({"w": 3}))


@pytest.mark.parametrize("strange", [Allocation({"w": 2, "other": 2}), Allocation(activations={"other": 4})])
def test_an_allocation_of_another_model_is_refused(strange: Allocation) -> None:
    with pytest.raises(PipelineError, match="nothing is known of other"):
        MEASURED.predicted(strange)


def test_a_sensitivity_is_what_it_was_after_json() -> None:
    assert Sensitivity.from_json(json.loads(json.dumps(MEASURED.to_json()))) == MEASURED


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"method": "direct", "bits": {}},
        {"method": "direct", "weights": []},
        {"method": "direct", "weights": {"w": 1}},
        {"method": "direct", "weights": {"w": {"two": 1}}},
        {"method": "direct", "weights": {"w": {"1": 1}}},
        {"method": "direct", "weights": {"w": {"2": "much"}}},
        {"method": "direct", "weights": {"w": {"2": float("nan")}}},
        {"method": "direct", "weights": {"w": {}}},
        {"method": "direct", "weights": {"w": {"2": 1, "3": 2}}},
        {"method": "direct", "weights": {"w": {"2": -1}}},
        {"method": "direct", "interactions": {}},
        {"method": "direct", "interactions": [["w", 2, "v", 2]]},
    ],
)
def test_what_is_no_sensitivity_is_refused(value: Any) -> None:
    with pytest.raises(PipelineError):
        Sensitivity.from_json(value)


@given(st.dictionaries(st.integers(2, 16), st.floats(-1, 1), min_size=1))
def test_falling_never_rises_nor_predicts_less_than_was_measured(losses: dict[int, float]) -> None:
    found = falling(losses)
    ordered = [found[bits] for bits in sorted(found)]
    assert found.keys() == losses.keys()
    assert all(more >= less for more, less in itertools.pairwise(ordered))
    assert all(found[bits] >= max(losses[bits], 0) for bits in losses)
    assert set(found.values()) <= {max(loss, 0) for loss in losses.values()} | {0.0}
