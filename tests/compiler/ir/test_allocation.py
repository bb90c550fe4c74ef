"""Allocations: written, read back, and refused where they make no sense."""

from typing import Any

import pytest

from bitsmith.errors import PipelineError
from bitsmith.ir.allocation import Allocation


def test_an_allocation_survives_json() -> None:
    made = Allocation({"w": 3, "v": 8}, {"x": 4})
    assert made.to_json() == {"weights": {"w": 3, "v": 8}, "activations": {"x": 4}}
    assert Allocation.from_json(made.to_json()) == made
    assert Allocation.from_json({"weights": {"w": 2}}) == Allocation({"w": 2}, {})
    assert Allocation.from_json({"weights": {"w": 1.6}}) == Allocation({"w": 1.6}, {})


def test_an_allocation_cannot_be_changed() -> None:
    given = {"w": 3}
    made = Allocation(given)
    given["w"] = 8
    assert made.weights["w"] == 3
    with pytest.raises(TypeError):
        made.weights["w"] = 8  # type: ignore[index]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ([], "is no allocation"),
        ({}, "is no allocation"),
        ({"wights": {}}, "is no allocation"),
        ({"weights": [3]}, "file.json, weights: is no table"),
        ({"weights": {"w": 1}}, "w cannot have 1 bits. Give 2 to 16, or 1.6 for ternary weights"),
        ({"activations": {"x": 1.6}}, "x cannot have 1.6 bits. Give 2 to 16."),
        ({"activations": {"x": True}}, "x cannot have True bits"),
        ({"activations": {"x": 4.0}}, "file.json, activations: x cannot have 4.0 bits. Give 2 to 16"),
    ],
)
def test_what_is_no_allocation_is_refused(value: Any, complaint: str) -> None:
    with pytest.raises(PipelineError, match=complaint):
        Allocation.from_json(value, "file.json")
