"""Grids: which integers they hold, and that a format rounds to the nearest of them."""

from __future__ import annotations

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.errors import InternalError
from bitsmith.ir.formats import Format, IntegerType, holding, packed_bytes
from bitsmith.ir.grids import (
    LARGEST_MULTIPLIER,
    MINIFLOATS,
    TERNARY,
    Codebook,
    Grouped,
    minifloat,
    offset,
    power_sums,
    powers,
)


def test_an_offset_codebook_leans_to_the_side_that_a_channel_needs() -> None:
    grid = offset(2, (False, True))
    assert grid.rows == ((-2, -1, 0, 1), (-1, 0, 1, 2))
    assert grid.bits == 2
    chosen = Format(IntegerType(3), (1.0, 1.0), axis=0, grid=grid)
    np.testing.assert_array_equal(chosen.quantize([[-9.0, 9.0], [-9.0, 9.0]]), [[-2, 1], [-1, 2]])


def test_powers_and_their_sums() -> None:
    assert powers(3).rows == ((-4, -2, -1, 0, 1, 2, 4),)
    assert powers(3).bits == 3
    positive = [q for q in power_sums(6).rows[0] if q > 0]
    assert positive == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 17, 18, 20, 24, 28, 30, 31]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("e4m3", ml_dtypes.float8_e4m3fn),
        ("e5m2", ml_dtypes.float8_e5m2),
        ("e3m2", ml_dtypes.float6_e3m2fn),
        ("e2m3", ml_dtypes.float6_e2m3fn),
        ("e2m1", ml_dtypes.float4_e2m1fn),
    ],
)
def test_the_integers_of_a_minifloat_are_its_values_over_a_power_of_two(kind: str, dtype: type) -> None:
    assert kind in MINIFLOATS
    grid = minifloat(kind)
    levels = np.array(grid.rows[0], np.float64)
    codes = np.arange(1 << ml_dtypes.finfo(dtype).bits, dtype=np.uint8).view(dtype).astype(np.float64)
    values = np.unique(codes[np.isfinite(codes)])
    unit = values.max() / levels.max()
    assert np.log2(unit).is_integer()
    expected = values[(values / unit) == np.rint(values / unit)] / unit
    np.testing.assert_array_equal(levels, np.unique(expected))
    assert grid.highest < 1 << 13


def test_groups_scale_their_codes() -> None:
    grid = Grouped(3, 2, ((1, 4), (2, 1)))
    assert (grid.lowest, grid.highest) == (-12, 12)
    chosen = Format(IntegerType(5), (1.0, 1.0), axis=0, grid=grid)
    integers = chosen.quantize([[-9.0, 1.4, 9.0], [9.0, -2.9, 1.6]])
    np.testing.assert_array_equal(integers, [[-3, 1, 8], [6, -2, 2]])
    assert grid.holds(integers)
    assert not grid.holds(np.array([[0, 0, 1], [0, 0, 0]]))


@given(st.lists(st.integers(-200, 200), min_size=2, max_size=12, unique=True), st.floats(-300, 300))
def test_rounding_to_a_codebook_finds_the_nearest(levels: list[int], real: float) -> None:
    grid = Codebook((tuple(sorted(levels)),), "k-means")
    (found,) = Format(holding(min(levels), max(levels)), (1.0,), grid=grid).quantize([real])
    assert abs(float(found) - real) == min(abs(level - real) for level in levels)


@given(st.integers(-40, 40))
def test_a_format_of_all_integers_of_a_type_is_its_codebook(step: int) -> None:
    real, plain = step / 8, Format(IntegerType(3), (1.0,))
    listed = Format(IntegerType(3), (1.0,), grid=Codebook((tuple(range(-4, 4)),), "all"))
    assert listed.quantize(real) == plain.quantize(real)


def test_the_channel_axis_is_the_formats() -> None:
    chosen = Format(IntegerType(3), (1.0, 10.0), axis=1, grid=offset(2, (False, True)))
    np.testing.assert_array_equal(chosen.quantize([[9.0, 9.0], [-9.0, -9.0]]), [[1, 1], [-2, -1]])


def test_storage_is_what_the_grid_takes() -> None:
    assert Format(IntegerType(8), (1.0,)).bits == 8
    assert Format(IntegerType(3), (1.0,), grid=offset(2, (True,))).bits == 2
    assert Format(IntegerType(2), (1.0,), grid=TERNARY).bits == 1.6
    assert Format(IntegerType(2), (1.0,), grid=TERNARY).to_json()["grid"] == {
        "kind": "ternary",
        "bits": 2,
        "rows": [[-1, 0, 1]],
    }


@given(st.integers(0, 10**12), st.sampled_from((Fraction(8, 5), *range(1, 17))))
def test_packed_elements_take_whole_bytes(elements: int, bits: Fraction) -> None:
    assert packed_bytes(elements, float(bits)) == math.ceil(elements * bits / 8)


@pytest.mark.parametrize(("lowest", "highest", "bits"), [(-1, 1, 2), (-2, 1, 2), (-1, 2, 3), (-128, 127, 8), (0, 1, 2)])
def test_the_narrowest_type(lowest: int, highest: int, bits: int) -> None:
    assert holding(lowest, highest) == IntegerType(bits)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Codebook(((1, 0),), "x"),
        lambda: Codebook(((1,),), "x"),
        lambda: Grouped(1, 8, ((1,),)),
        lambda: Grouped(4, 0, ((1,),)),
        lambda: Grouped(4, 8, ((1, 2), (1,))),
        lambda: Grouped(4, 8, ((LARGEST_MULTIPLIER + 1,),)),
        lambda: Format(IntegerType(2), (1.0,), grid=offset(2, (True,))),
        lambda: Format(IntegerType(3), (1.0,), grid=offset(2, (True, False))),
        lambda: Format(IntegerType(3), (1.0,), zero_point=1, grid=offset(2, (True,))),
    ],
)
def test_what_makes_no_sense_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(InternalError):
        make()
