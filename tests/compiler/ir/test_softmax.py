"""Softmax in integers: its reciprocal, and how far it is from the softmax of the same reals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsmith.errors import UnsupportedError
from bitsmith.execution.interpreter import run
from bitsmith.ir.bounds import bounds
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import IntegerGraph, Requantize, Softmax, Value
from bitsmith.ir.softmax import RECIPROCAL_ERROR, exponentials, reciprocal
from bitsmith.ir.validate import validate

FINE = Format(IntegerType(32), (2.0**-30,))
"""Of a result that holds the accumulator as it is, less its last bit."""


@given(st.lists(st.integers(1 << 30, (1 << 31) - 1), min_size=1, max_size=20))
def test_the_reciprocal_is_rounded_down_by_two_steps_at_most(divisors: list[int]) -> None:
    ends = [1 << 30, (1 << 31) - 1]
    for divisor, found in zip(ends + divisors, reciprocal(np.array(ends + divisors)), strict=True):
        assert 0 <= (1 << 60) // divisor - int(found) <= RECIPROCAL_ERROR


@settings(max_examples=60)
@given(st.sampled_from([2, 4, 8, 8, 8, 12, 16]), st.integers(1, 300), st.floats(1e-4, 2.0), st.integers(0, 2**32 - 1))
def test_the_result_is_within_the_bound_that_its_formula_states(bits: int, count: int, reach: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    kind = IntegerType(bits)
    x = Format(kind, (reach * 64 / 2**bits,))
    tables = exponentials(x.scale[0], bits, count)
    # Twice the multiplier over twice the power: the accumulator itself.
    layer = Softmax("softmax", ("x",), "y", *tables, Requantize(np.array([2]), 1, 0, 0, FINE.type.highest))
    values = {"x": Value("x", (count,), x), "y": Value("y", (count,), FINE)}
    graph = IntegerGraph("one", values, ("x",), ("y",), (layer,))
    validate(graph)
    centre = random.integers(kind.lowest, kind.highest, (8, 1), endpoint=True)
    spread = random.uniform(0, 1, (8, 1)) ** 3 * 2**bits
    integers = np.clip(centre + spread * random.normal(size=(8, count)), kind.lowest, kind.highest)
    integers = integers.astype(kind.storage)
    found = run(graph, {"x": integers})["y"] / 2.0**30

    reals = x.scale[0] * integers.astype(np.float64)
    powers = np.exp(reals - reals.max(axis=1, keepdims=True))
    exact = powers / powers.sum(axis=1, keepdims=True)
    sums = layer.one * powers.sum(axis=1, keepdims=True)
    off = 0.5 if bits <= 8 else 2.0
    # S is that of the integers: less than that of the reals by what they are off.
    least = np.maximum(sums - count * off, layer.one)
    bound = off * (1 + count * exact) / least + 2.0**-27
    assert (np.abs(found - exact) <= bound).all()
    assert (found <= 1).all()
    assert (found.sum(axis=1) <= 1).all()


def test_sums_that_int32_cannot_hold_are_refused() -> None:
    tables = exponentials(0.01, 8, 4)
    layer = Softmax("softmax", ("x",), "y", *tables, Requantize(np.array([2]), 1, 0, 0, FINE.type.highest))
    values = {"x": Value("x", (300,), Format(IntegerType(8), (0.01,))), "y": Value("y", (300,), FINE)}
    graph = IntegerGraph("one", values, ("x",), ("y",), (layer,))
    with pytest.raises(UnsupportedError, match="Softmax softmax: the accumulator can reach 2,516,582,400"):
        bounds(graph)
