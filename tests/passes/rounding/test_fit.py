"""Formats and integers that are fitted together."""

from __future__ import annotations

import numpy as np
import pytest

from bitsmith.ir.formats import Format, IntegerType, holding
from bitsmith.ir.grids import TERNARY, Codebook, Grid, Grouped, minifloat, offset, power_sums, powers
from bitsmith.passes.rounding import SOLVERS
from bitsmith.passes.rounding.fit import Fit, fit

GROUPS, ROWS, K = 2, 6, 24


def layer(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Weights of different size in each channel, and second moments of correlated inputs."""
    random = np.random.default_rng(seed)
    weight = random.normal(size=(GROUPS, ROWS, K)) * np.exp(random.normal(size=(GROUPS, ROWS, 1)))
    inputs = random.normal(size=(GROUPS, 300, K)) @ random.normal(size=(GROUPS, K, K))
    return weight, inputs.transpose(0, 2, 1) @ inputs / 300


def integers_of(bits: int, per_channel: bool = True) -> Format:
    scales = (1.0,) * (GROUPS * ROWS) if per_channel else (1.0,)
    return Format(IntegerType(bits), scales, axis=0 if per_channel else None)


def on(grid: Grid) -> Format:
    return Format(holding(grid.lowest, grid.highest), (1.0,) * (GROUPS * ROWS), axis=0, grid=grid)


def damped(gram: np.ndarray) -> np.ndarray:
    return gram + 0.01 * np.mean(np.diagonal(gram, axis1=1, axis2=2)) * np.eye(K)


def loss(weight: np.ndarray, gram: np.ndarray, found: Fit) -> float:
    error = weight - found.rounded
    return float(np.einsum("grk,grk->", error @ gram, error))


def plain(weight: np.ndarray, highest: int) -> np.ndarray:
    """What max|w| scales and nearest rounding make of the weights."""
    scale = np.abs(weight).max(axis=2, keepdims=True) / highest
    return np.floor(weight / scale + 0.5) * scale


CODES = Codebook((tuple(range(-64, 64, 8)),), "k-means")
GRIDS: dict[str, Grid] = {
    "offset": offset(2, (False,) * (GROUPS * ROWS)),
    "offset4": offset(4, (False,) * (GROUPS * ROWS)),
    "ternary": TERNARY,
    "k-means": CODES,
    "powers": powers(4),
    "power-sums": power_sums(8),
    "e2m1": minifloat("e2m1"),
    "e4m3": minifloat("e4m3"),
    "groups": Grouped(4, 8, ((1, 1, 1),) * (GROUPS * ROWS)),
}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_integers_are_on_the_grid_that_is_found(grid: Grid) -> None:
    weight, gram = layer()
    found = fit(weight, gram, on(grid))
    assert found.format.grid is not None
    assert type(found.format.grid) is type(grid)
    assert found.format.grid.bits == grid.bits
    assert found.format.grid.holds(found.integers.reshape(GROUPS * ROWS, K))
    # A format rounds what is on its grid to itself.
    again = found.format.quantize(found.rounded.reshape(GROUPS * ROWS, K))
    np.testing.assert_array_equal(again, found.integers.reshape(GROUPS * ROWS, K))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_a_fit_is_better_than_the_largest_weights_scale(solver: str, bits: int) -> None:
    weight, gram = layer()
    found = fit(weight, gram, integers_of(bits), solver=solver, damping=0.01)
    error = weight - plain(weight, 2 ** (bits - 1) - 1)
    before = np.einsum("grk,grk->", error @ damped(gram), error)
    # Scales are float32, hence the hair.
    assert loss(weight, damped(gram), found) <= (1 + 1e-5) * before
    assert np.abs(found.integers).max() <= 2 ** (bits - 1) - 1


def test_one_scale_for_all_is_judged_by_all() -> None:
    weight, gram = layer()
    found = fit(weight, gram, integers_of(8, per_channel=False))
    assert len(found.format.scale) == 1
    scale = np.abs(weight).max() / 127
    error = weight - np.floor(weight / scale + 0.5) * scale
    assert loss(weight, gram, found) < np.einsum("grk,grk->", error @ gram, error)


def test_offset_rows_lean_where_the_weights_do() -> None:
    weight, gram = layer()
    weight = np.abs(weight)
    weight[0] *= -1
    found = fit(weight, gram, on(GRIDS["offset"]))
    assert isinstance(found.format.grid, Codebook)
    tops = [row[-1] for row in found.format.grid.rows]
    assert tops[:ROWS] == [1] * ROWS
    assert tops[ROWS:] == [2] * ROWS


def test_more_levels_lose_less() -> None:
    weight, gram = layer()
    losses = [loss(weight, gram, fit(weight, gram, integers_of(bits))) for bits in (2, 3, 4, 5, 6, 8)]
    assert losses == sorted(losses, reverse=True)
    ternary = loss(weight, gram, fit(weight, gram, on(TERNARY)))
    assert loss(weight, gram, fit(weight, gram, on(GRIDS["offset"]))) < ternary


def test_groups_follow_the_size_of_their_weights() -> None:
    weight, gram = layer()
    weight[:, :, :8] *= 20
    found = fit(weight, gram, on(GRIDS["groups"]))
    grid = found.format.grid
    assert isinstance(grid, Grouped)
    assert all(row[0] > 4 * max(row[1:]) for row in grid.multipliers)
    one_scale = fit(weight, gram, integers_of(4))
    diagonal = gram * np.eye(K)
    assert loss(weight, diagonal, fit(weight, diagonal, on(GRIDS["groups"]))) < loss(
        weight, diagonal, fit(weight, diagonal, integers_of(4))
    )
    assert one_scale.format.bits == found.format.bits


def test_clusters_find_the_values_that_there_are() -> None:
    random = np.random.default_rng(3)
    weight = random.choice([-1.0, -0.2, 0.1, 0.6], size=(1, 4, 200))
    weight[:, :, 0] = -1.0
    chosen = Format(IntegerType(8), (1.0,) * 4, axis=0, grid=Codebook(((-100, -10, 10, 100),), "k-means"))
    found = fit(weight, np.eye(200)[None], chosen)
    np.testing.assert_allclose(found.rounded, weight, atol=0.01)


def test_scales_that_are_powers_of_two() -> None:
    weight, gram = layer()
    found = fit(weight, gram, integers_of(4), power_of_two=True)
    assert all(np.log2(scale).is_integer() for scale in found.format.scale)


@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("tiny", [0.0, 1e-9])
def test_a_dead_channel_keeps_a_scale_beside_the_others(tiny: float, power_of_two: bool) -> None:
    weight, gram = layer()
    weight[0, 0] *= tiny
    found = fit(weight, gram, on(GRIDS["offset"]), power_of_two=power_of_two)
    assert not found.integers[0, 0].any()
    assert min(found.format.scale) >= max(found.format.scale) * 2.0**-16


def test_a_layer_that_reads_only_zeros_is_rounded_by_itself() -> None:
    weight, gram = layer()
    found = fit(weight, np.zeros_like(gram), integers_of(8))
    assert np.abs(weight - found.rounded).max() <= np.abs(weight).max() / 127
    nothing = fit(np.zeros_like(weight), gram, integers_of(2))
    assert not nothing.integers.any()


def test_a_refitted_scale_is_the_least_squares_one() -> None:
    weight, gram = layer()
    found = fit(weight, gram, integers_of(2), damping=0.01)
    products = found.integers @ damped(gram)
    best = np.einsum("grk,grk->gr", products, weight) / np.einsum("grk,grk->gr", products, found.integers)
    np.testing.assert_allclose(np.array(found.format.scale).reshape(GROUPS, ROWS), best, rtol=1e-5)
