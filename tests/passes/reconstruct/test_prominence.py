"""Positions that stand out: how much they count, by hand, and what a network loses where they count in full."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bitsmith.importing.load import load_graph
from bitsmith.ir.graph import Node
from bitsmith.passes import reconstruct
from bitsmith.passes.reconstruct.prominence import MOST, ROUNDS, position_weights
from tests.passes.reconstruct.test_reconstruct import SAMPLES, after, errors
from tests.sketch import Sketch, normal

USUAL = 1.5 + 7.5 * 0.4**ROUNDS
"""What is usual among nine powers of 1 and one of 81: beginning at 9, each round gives (9 + 4 m) / 10."""


def node_of(sketch: Sketch, op: str, *operands: Any) -> Node:
    """The only node of a model."""
    (node,) = load_graph(sketch.model(sketch.add(op, "x", *operands))).nodes(op)
    return node


def convolution() -> Node:
    return node_of(Sketch(x=("N", 2, 2, 5)), "Conv", normal(2, 2, 1, 1))


def test_a_loud_position_counts_as_much_as_its_sample_allows() -> None:
    """Nine positions of -1 and one of 9 in the first channel: about their mean, 0, powers are 1 and 81."""
    wanted = np.zeros((2, 2, 2, 5), np.float32)
    wanted[0, 0] = -1
    wanted[0, 0, 1, 3] = 9
    wanted[1, 1] = [[1, -1, 1, -1, 1], [-1, 1, -1, 1, -1]]
    weights = position_weights(convolution(), wanted)
    expected = np.ones((2, 10))
    expected[0, 8] = MOST * USUAL / 81
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_tokens_of_a_product_are_positions_too() -> None:
    node = node_of(Sketch(x=("N", 10, 4)), "MatMul", normal(4, 3))
    wanted = np.full((1, 10, 3), -1, np.float32)
    wanted[0, 4] = 9
    weights = position_weights(node, wanted)
    assert weights[0, 4] == pytest.approx(MOST * USUAL / 81)
    assert (np.delete(weights[0], 4) == 1).all()


def test_where_a_quarter_of_the_positions_is_loud_none_is_held_back() -> None:
    wanted = np.zeros((1, 2, 2, 6), np.float32)
    wanted[0, 0].ravel()[:3] = 100
    assert (position_weights(convolution(), wanted) == 1).all()


def test_samples_of_one_position_and_samples_that_are_flat_count_in_full() -> None:
    gemm = node_of(Sketch(x=("N", 4)), "Gemm", normal(4, 3), normal(3))
    assert (position_weights(gemm, normal(6, 3)) == np.ones((6, 1))).all()
    assert (position_weights(convolution(), np.ones((3, 2, 2, 5), np.float32)) == 1).all()


def test_huge_values_in_a_corner_do_not_cost_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The corner of every eighth sample is 60 times as loud, and the Relu behind the second layer drops it."""
    x = normal(SAMPLES, 4, 8, 8, seed=6)
    x[::8, 0, 0, 0] = 60.0
    mixing = 0.5 * normal(8, 4, 1, 1)
    mixing[:, 0] = 1.0
    second = 0.3 * normal(6, 8, 1, 1, seed=2)
    second -= second.mean(axis=1, keepdims=True) + 0.05
    sketch = Sketch(x=("N", 4, 8, 8))
    bottleneck = sketch.add("Conv", "x", mixing, normal(8, seed=1))
    made = sketch.add("Relu", sketch.add("Conv", bottleneck, second, 0.1 * normal(6, seed=3)))
    model = sketch.model(made)

    def rest(activations: int) -> Any:
        learned, _ = after(model, x, "reconstruct,", activations=activations)
        found = errors(learned, model, x)
        found[:, :, 0, 0] = 0
        return np.mean(found**2)

    weighed, wide = rest(4), rest(8)
    monkeypatch.setattr(reconstruct, "position_weights", lambda _, wanted: np.ones((len(wanted), wanted[0, 0].size)))
    assert weighed < 0.5 * rest(4)
    # Eight bits hold the corners too: nothing is held back there.
    assert wide == rest(8)
