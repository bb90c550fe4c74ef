"""Look-up tables of any widths, from those of circuits whose layers are all alike."""

from __future__ import annotations

import itertools

import pytest

from bitsmith.allocation.fabric import lut_row
from bitsmith.allocation.problem import Group
from bitsmith.importing.load import load_graph
from tests.sketch import Sketch, normal

WEIGHTS, ACTIVATIONS = (2, 4, 8), (3, 5, 8)


def told(weight: int, activation: int, edge: int = 8) -> dict[str, float]:
    """Of every operation below: adders as wide as their inputs, and a pool that compares bits."""
    return {"first": 10.0 * weight * edge, "pool": 6.0 * activation, "second": 7.0 * weight * activation, "made": 4.0}


def test_any_mixture_is_the_sum_of_its_layers() -> None:
    s = Sketch(x=("N", 1, 6, 6))
    first = s.add("Conv", "x", s.hold(normal(2, 1, 3, 3), "w1"), name="first", outputs=["a"])
    pooled = s.add("MaxPool", first, kernel_shape=[2, 2], strides=[2, 2], name="pool", outputs=["b"])
    s.add("Conv", pooled, s.hold(normal(2, 2, 2, 2), "w2"), name="second", outputs=["y"])
    groups = [
        Group("w1", ("w1",), True, WEIGHTS),
        Group("w2", ("w2",), True, WEIGHTS),
        Group("x", ("x",), False, (8,)),
        Group("a", ("a", "b"), False, ACTIVATIONS),
        Group("y", ("y",), False, (8,)),
    ]
    row = lut_row(
        load_graph(s.model("y")),
        groups,
        {bits: told(bits, ACTIVATIONS[-1]) for bits in WEIGHTS},
        {bits: told(bits, ACTIVATIONS[0]) for bits in WEIGHTS},
    )
    for one, two, bits in itertools.product(WEIGHTS, WEIGHTS, ACTIVATIONS):
        found = row.at({"w1": one, "w2": two, "x": 8, "a": bits, "y": 8})
        assert found == pytest.approx(80 * one + 7 * two * bits + 6 * bits + 4)
