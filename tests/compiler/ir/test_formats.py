"""Formats: rounding, saturation, exact zero, and the ends of the grid."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.errors import InternalError
from bitsmith.ir.formats import Format, IntegerType, Plan, affine, symmetric

TYPES = st.builds(IntegerType, st.integers(2, 16), st.booleans())
RANGES = st.tuples(
    st.floats(-1e4, 1e4, allow_nan=False).map(lambda x: min(x, 0.0)), st.floats(1e-3, 1e4, allow_nan=False)
)


@pytest.mark.parametrize(
    ("kind", "lowest", "highest", "storage"),
    [
        (IntegerType(8), -128, 127, "int8"),
        (IntegerType(8, signed=False), 0, 255, "uint8"),
        (IntegerType(4), -8, 7, "int8"),
        (IntegerType(2, signed=False), 0, 3, "uint8"),
        (IntegerType(12), -2048, 2047, "int16"),
        (IntegerType(32), -(2**31), 2**31 - 1, "int32"),
    ],
)
def test_integer_types_know_their_ends_and_storage(kind: IntegerType, lowest: int, highest: int, storage: str) -> None:
    assert (kind.lowest, kind.highest, kind.storage) == (lowest, highest, np.dtype(storage))


def test_quantize_rounds_ties_up_on_both_sides_of_zero() -> None:
    halves = Format(IntegerType(8), (1.0,))
    assert halves.quantize([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]).tolist() == [-2, -1, 0, 1, 2, 3]


def test_quantize_saturates_instead_of_wrapping() -> None:
    coarse = Format(IntegerType(4), (0.5,), zero_point=3)
    assert coarse.quantize([-1e30, 1e30]).tolist() == [-8, 7]


@given(RANGES, TYPES)
def test_affine_covers_its_range_and_holds_zero_exactly(bounds: tuple[float, float], kind: IntegerType) -> None:
    lowest, highest = bounds
    chosen = affine(lowest, highest, kind)
    assert chosen.dequantize(chosen.quantize(0.0)) == 0.0
    # The zero point is rounded to the grid, which moves the ends by at most half a step; float32 rounds the scale.
    slack = chosen.scale[0] * (0.5 + 1e-6 * (kind.highest - kind.lowest))
    assert chosen.dequantize(kind.lowest) <= lowest + slack
    assert chosen.dequantize(kind.highest) >= highest - slack


@given(st.floats(1e-6, 1e6), TYPES, st.floats(-1, 1))
def test_the_error_inside_the_grid_is_at_most_half_a_step(magnitude: float, kind: IntegerType, part: float) -> None:
    chosen = symmetric(magnitude, kind)
    real = magnitude * (part if kind.signed else abs(part))
    integer = int(chosen.quantize(real))
    error = abs(Fraction(real) - Fraction(chosen.scale[0]) * integer)
    assert error <= Fraction(chosen.scale[0]) / 2 * (1 + Fraction(1, 2**20))


def test_a_value_that_is_always_zero_still_gets_a_grid() -> None:
    assert affine(0.0, 0.0, IntegerType(8)).scale == (1.0,)
    assert symmetric(0.0, IntegerType(8)).scale == (1.0,)


def test_a_tiny_range_gets_a_normal_float32_scale() -> None:
    scale = affine(0.0, 1e-44, IntegerType(8)).scale[0]
    assert math.isfinite(1.0 / scale)
    assert np.float32(scale) >= np.finfo(np.float32).tiny


def test_per_channel_scales_run_along_their_axis() -> None:
    chosen = Format(IntegerType(8), (1.0, 2.0), axis=1)
    assert chosen.quantize([[4.0, 4.0], [8.0, 8.0]]).tolist() == [[4, 2], [8, 4]]


def test_a_format_as_plain_data() -> None:
    chosen = Format(IntegerType(4, signed=False), (0.5, 0.25), zero_point=7, axis=0)
    assert chosen.to_json() == {"bits": 4, "signed": False, "scale": [0.5, 0.25], "zero_point": 7, "axis": 0}


@pytest.mark.parametrize(
    ("scale", "zero_point", "axis"),
    [((0.0,), 0, None), ((math.nan,), 0, None), ((1.0, 2.0), 0, None), ((1.0,), 300, None), ((), 0, None)],
)
def test_a_format_that_means_nothing_is_refused(scale: tuple[float, ...], zero_point: int, axis: int | None) -> None:
    with pytest.raises(InternalError):
        Format(IntegerType(8), scale, zero_point, axis)


def test_a_plan_is_never_changed_in_place() -> None:
    empty = Plan()
    fuller = empty.with_formats({"x": symmetric(1.0, IntegerType(8))})
    assert "x" in fuller
    assert "x" not in empty
    with pytest.raises(TypeError):
        fuller.formats["y"] = fuller["x"]  # type: ignore[index]
