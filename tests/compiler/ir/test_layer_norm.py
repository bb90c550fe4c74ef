"""LayerNorm in integers: its reciprocal root, and how far it is from the normalisation of the same reals."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsmith.errors import UnsupportedError
from bitsmith.execution.sums import accumulate
from bitsmith.ir.bounds import bounds
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import IntegerGraph, LayerNorm, Requantize, Value
from bitsmith.ir.layer_norm import RECIPROCAL_ROOT_ERROR, finer_bits, fraction_bits, gains, reach, reciprocal_root
from bitsmith.ir.validate import validate


@given(st.lists(st.integers(1 << 29, (1 << 31) - 1), min_size=1, max_size=20))
def test_the_reciprocal_root_is_off_by_two_steps_at_most(squares: list[int]) -> None:
    every = [1 << 29, (1 << 31) - 1, *squares]
    for square, found in zip(every, reciprocal_root(np.array(every)), strict=True):
        # With 20 bits more, so that the root of the whole number is exact enough to tell.
        exact = isqrt((1 << 130) // square)
        assert abs((int(found) << 20) - exact) <= (RECIPROCAL_ROOT_ERROR << 20) - 1


def layer(x: Value, gain: np.ndarray, offset: np.ndarray, epsilon: int, finer: int = 0) -> IntegerGraph:  # type: ignore[type-arg]
    """A graph of one LayerNorm, whose result is of 8 bits in steps of 1."""
    fraction = fraction_bits(x.shape[-1])
    held = gains(gain, offset, fraction)
    rule = Requantize(np.array([1]), held.shift, 0, -128, 127)
    norm = LayerNorm("norm", ("x",), "y", held.gain, held.offset, epsilon, finer, fraction, rule)
    y = Value("y", x.shape, Format(IntegerType(8), (1.0,)))
    return IntegerGraph("one", {"x": x, "y": y}, ("x",), ("y",), (norm,))


def only(graph: IntegerGraph) -> LayerNorm:
    (operation,) = graph
    assert isinstance(operation, LayerNorm)
    return operation


@settings(max_examples=80)
@given(
    st.sampled_from([1, 2, 4, 8, 8, 8, 12, 16]),
    st.integers(1, 300),
    st.floats(0, 1),
    st.sampled_from([0.01, 1.0, 40.0, 1e4]),
    st.sampled_from([0.0, 1.0, 1e4, 1e8]),
    st.integers(0, 2**32 - 1),
)
def test_the_result_is_within_the_bound_that_its_formula_states(
    bits: int, count: int, width: float, size: float, far: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    kind = IntegerType(bits)
    zero = int(random.integers(kind.lowest, kind.highest, endpoint=True))
    gain, offset = size * random.normal(size=count), far * random.normal(size=count)
    epsilon = int(random.choice([1, 7, count**2, count**2 << bits]))
    finer = int(random.choice([0, finer_bits(count, 1 << bits, epsilon / count**2)]))
    graph = layer(Value("x", (count,), Format(kind, (0.1,), zero)), gain, offset, epsilon << 2 * finer, finer)
    validate(graph)
    magnitude = bounds(graph).accumulators["norm"]
    centre = random.integers(kind.lowest, kind.highest, (8, 1), endpoint=True)
    x = np.rint(centre + width * 2**bits * random.normal(size=(8, count)))
    x = np.clip(x, kind.lowest, kind.highest) - zero
    x[0] = x[0, 0]
    x[1] = np.where(np.arange(count) == 0, kind.highest, kind.lowest) - zero
    norm = only(graph)
    accumulator = accumulate(norm, [x])
    assert np.abs(accumulator).max() <= magnitude
    shift, fraction = norm.requantize.shift, norm.fraction

    exact = x.astype(np.longdouble)
    mean = exact.mean(axis=1, keepdims=True)
    variance = np.square(exact - mean).mean(axis=1, keepdims=True) + np.longdouble(epsilon) / count**2
    normal = (exact - mean) / np.sqrt(variance)
    assert np.abs(normal).max() <= np.sqrt(count - 1) + 1e-9
    assert np.abs(normal).max() * 2.0**fraction <= reach(count, fraction)
    off = np.abs(accumulator * np.longdouble(2) ** -shift - (normal * gain + offset))
    far_off = np.abs(normal)
    bound = np.abs(gain) * (2.0**-fraction + far_off * 2.0**-28)
    bound = bound + (far_off + 1) * 2.0 ** (fraction - shift - 1) + 2.0 ** -(shift + 1)
    assert (off <= bound * (1 + 1e-6) + np.abs(normal * gain + offset) * 1e-17).all()


def test_what_the_docstring_says_of_rows_of_64() -> None:
    """Full-scale: the farthest element comes to 127 steps."""
    count, fraction = 64, fraction_bits(64)
    gain = np.full(count, 127 / np.sqrt(count - 1))
    shift = gains(gain, np.zeros(count), fraction).shift
    most = np.sqrt(count - 1)
    bound = gain[0] * (2.0**-fraction + most * 2.0**-28) + (most + 1) * 2.0 ** (fraction - shift - 1)
    assert bound < 127 * 2.0**-18


def test_a_constant_row_comes_to_its_offset() -> None:
    graph = layer(Value("x", (5,), Format(IntegerType(8), (0.1,), 3)), np.full(5, 9.0), np.arange(5.0) - 2, 1)
    norm = only(graph)
    made = accumulate(norm, [np.full((1, 5), 77.0)])
    np.testing.assert_array_equal(made, norm.offset[None])


def test_rows_whose_squares_int64_cannot_hold_are_refused() -> None:
    count = 1 << 15
    graph = layer(Value("x", (count,), Format(IntegerType(16), (0.1,))), np.ones(count), np.zeros(count), 1)
    assert bounds(graph).accumulators["norm"] < 1 << 62
    wide = layer(Value("x", (2 * count,), Format(IntegerType(16), (0.1,))), np.ones(2 * count), np.zeros(2 * count), 1)
    with pytest.raises(UnsupportedError, match=r"LayerNorm norm: the accumulator can reach .* int64 cannot hold"):
        bounds(wide)


def test_an_epsilon_that_int64_cannot_hold_is_refused() -> None:
    graph = layer(Value("x", (5,), Format(IntegerType(8), (0.1,))), np.ones(5), np.zeros(5), 1)
    large = replace(graph, operations=(replace(only(graph), epsilon=1 << 62),))
    with pytest.raises(UnsupportedError, match="int64 cannot hold"):
        bounds(large)
