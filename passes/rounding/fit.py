"""Fit a weight's format and its integers together: scale, codebook or multipliers, and rounding."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bitsmith.ir.formats import Format, holding
from bitsmith.ir.grids import Codebook, Grouped, offset
from bitsmith.ir.linear import SMALLEST_CHANNEL
from bitsmith.passes.rounding import SOLVERS
from bitsmith.passes.rounding.clusters import clustered
from bitsmith.passes.rounding.comq import descend
from bitsmith.passes.rounding.levels import Interval, Levels, levels_of
from bitsmith.passes.rounding.problem import Reals, Rounding

CANDIDATES = 24
NARROWEST = {1: 0.2, 2: 0.2, 3: 0.35, 4: 0.35, 5: 0.5, 6: 0.6}
"""Bits -> the smallest part of max|w| that a scale may cover; 0.7 above 6 bits, where little is gained by clipping."""

WIDEST = 1.05
TRIED = 5
"""Scales around the best for nearest rounding that the solver is run on."""

FEW_BITS = 3
"""Up to so many bits the scale that suits nearest rounding is not the one that suits others: it is refitted."""

MULTIPLIER = 63
"""The largest that a group's multiplier is made: an integer of 4-bit codes still fits 10 bits."""

OCTAVES = 2
"""Below the power of two that covers a channel, how many more are tried."""

CEILING = 2.0
FLOOR = 2**OCTAVES * CEILING * SMALLEST_CHANNEL
"""Bounds of scales, as parts of the one that covers the layer's largest weight: they keep every channel's at least
`SMALLEST_CHANNEL` of every other's, though a power of two may end `OCTAVES` below its bound."""

SMALLEST = float(np.finfo(np.float32).tiny) * 2**40
"""Of a layer whose weights are all 0; float32 holds every scale and product that comes of it."""

REFITS = 3
SWEEPS = 4

AT_ONCE = 1 << 21
"""Weights looked at together, copies for several scales among them: the search has a dozen arrays of that size."""


@dataclass(frozen=True, eq=False)
class Fit:
    """format: with the scales that were found. integers: int64 (groups, rows, k)."""

    format: Format
    integers: npt.NDArray[np.int64]

    @property
    def rounded(self) -> Reals:
        """The reals that the integers stand for: float64 (groups, rows, k)."""
        groups, rows, _ = self.integers.shape
        scale = np.array(self.format.scale, np.float64)
        spread = scale.reshape(groups, rows, 1) if self.format.is_per_channel else scale
        reals: Reals = self.integers * spread
        return reals


def fit(
    weight: Reals,
    gram: Reals,
    chosen: Format,
    *,
    solver: str = "gptq",
    damping: float = 0.01,
    power_of_two: bool = False,
) -> Fit:
    """The format of `chosen`'s kind and the integers that come near to minimising (w - s v) H (w - s v)^T.

    Scales are looked for in two steps: by the loss of nearest rounding for some 24 parts of max|w|, then by that of
    the solver for five around the best. Of few bits, integers and scales are then improved in turn: a sweep of descent
    and the least-squares scale (w H v) / (v H v). Offset rows lean to the side that loses less, channel by channel;
    a k-means codebook and the multipliers of groups are made anew for these weights.

    weight: (groups, rows, k). gram: H, (groups, k, k). chosen: type, kind of grid, and whether scales are per channel.
    solver: a name in SOLVERS. damping: see `Rounding.damped`. power_of_two: whether scales must be powers of two.
    """
    grid = chosen.grid
    diagonal = np.diagonal(gram, axis1=1, axis2=2)
    if isinstance(grid, Codebook) and grid.kind == "k-means":
        made = clustered(weight, diagonal, len(grid.rows[0]))
        chosen = replace(chosen, grid=made, type=holding(made.lowest, made.highest))
    elif isinstance(grid, Grouped):
        chosen = _grouped(weight, diagonal, chosen, grid)
    unit = max(float(np.abs(weight).max()) / _reach(chosen), SMALLEST)
    search = _Search(weight, gram, chosen, solver, damping, power_of_two, unit)
    if not (isinstance(chosen.grid, Codebook) and chosen.grid.kind == "offset"):
        integers, scale, _ = search.run(levels_of(chosen, weight.shape))
        return _fitted(chosen, integers, scale)
    half = float(1 << (chosen.grid.bits - 1))
    down, down_scale, down_loss = search.run(Interval(np.array(-half), np.array(half - 1)))
    up, up_scale, up_loss = search.run(Interval(np.array(1 - half), np.array(half)))
    upward = up_loss < down_loss
    if not chosen.is_per_channel:
        upward = np.full_like(upward, up_loss.sum() < down_loss.sum())
    rows = tuple(bool(one) for one in (upward.ravel() if chosen.is_per_channel else upward.ravel()[:1]))
    made = offset(chosen.grid.bits, rows)
    leaning = replace(chosen, grid=made, type=holding(made.lowest, made.highest))
    return _fitted(leaning, np.where(upward[:, :, None], up, down), np.where(upward, up_scale, down_scale))


def _grouped(weight: Reals, importance: Reals, chosen: Format, grid: Grouped) -> Format:
    """The format with a multiplier for each group that lets its codes cover it best, by weighted squared error."""
    groups, rows, inputs = weight.shape
    count = -(-inputs // grid.size)
    padded = np.zeros((groups, rows, count * grid.size))
    padded[:, :, :inputs] = weight
    counts = np.zeros((groups, 1, count * grid.size))
    counts[:, 0, :inputs] = importance
    apart, counts = (one.reshape(groups, -1, count, grid.size) for one in (padded, counts))
    largest = np.abs(apart).max(axis=3)
    parts = np.linspace(NARROWEST.get(grid.bits, 0.7), 1.0, CANDIDATES)
    scales = np.where(largest > 0, largest, 1.0) * parts[:, None, None, None] / grid.code
    errors = []
    for scale in scales:
        steps = np.clip(np.floor(apart / scale[..., None] + 0.5), -grid.code, grid.code)
        errors.append(np.sum(counts * (apart - steps * scale[..., None]) ** 2, axis=3))
    best = np.take_along_axis(scales, np.argmin(errors, axis=0)[None], axis=0)[0]
    best = np.where(largest > 0, best, 0.0)
    top = best.max(axis=2) if chosen.is_per_channel else np.full(best.shape[:2], best.max())
    unit = np.where(top > 0, top, 1.0) / MULTIPLIER
    multipliers = np.clip(np.rint(best / unit[..., None]), 1, MULTIPLIER).astype(int).reshape(-1, count)
    made = replace(grid, multipliers=tuple(map(tuple, multipliers.tolist())))
    return replace(chosen, grid=made, type=holding(made.lowest, made.highest))


@dataclass(frozen=True, eq=False)
class _Search:
    """The search for a scale and integers under given levels.

    unit: the scale that covers the largest weight of the layer.
    """

    weight: Reals
    gram: Reals
    chosen: Format
    solver: str
    damping: float
    power_of_two: bool
    unit: float

    def run(self, levels: Levels) -> tuple[Reals, Reals, Reals]:
        """Integers (groups, rows, k), scales (groups, rows) and losses (groups, rows): the best that were found."""
        groups, rows, inputs = self.weight.shape
        at_once = max(1, AT_ONCE // (TRIED * groups * inputs)) if self.chosen.is_per_channel else rows
        parts = [slice(first, first + at_once) for first in range(0, rows, at_once)]
        found = [replace(self, weight=self.weight[:, part])._run(levels.rows(part)) for part in parts]
        integers, scales, losses = (np.concatenate(one, axis=1) for one in zip(*found, strict=True))
        return integers, scales, losses

    def _run(self, levels: Levels) -> tuple[Reals, Reals, Reals]:
        gram = self.gram if self.gram.any() else np.broadcast_to(np.eye(self.gram.shape[-1]), self.gram.shape)
        problem = Rounding(self.weight, gram, np.ones(self.weight.shape[:2]), levels).damped(self.damping)
        scales = self._candidates()
        losses = np.stack([problem.scaled(scale).loss(problem.scaled(scale).nearest()) for scale in scales])
        around = np.argmin(self._shared(losses), axis=0) + np.arange(-(TRIED // 2), TRIED // 2 + 1)[:, None, None]
        tried = np.take_along_axis(scales, np.clip(around, 0, len(scales) - 1), axis=0)
        # One problem with a copy of all rows for each scale: the solver factors H once.
        many = Rounding(
            np.tile(self.weight, (1, TRIED, 1)),
            problem.gram,
            np.concatenate(list(tried), axis=1),
            levels.repeated(TRIED),
        )
        solutions = [(many, many.nearest())]
        if self.solver != "nearest":
            if self.chosen.bits <= FEW_BITS:
                # Refits begin with a descent, which is all that polishing is.
                first = "gptq" if self.solver == "polished" else self.solver
                solutions.append(self._refit(many, SOLVERS[first](many)))
            else:
                solutions.append(self._rescaled(many, SOLVERS[self.solver](many)))
        return self._best(solutions)

    def _refit(self, many: Rounding, integers: Reals) -> tuple[Rounding, Reals]:
        """Integers and scales improved in turn; neither step raises the loss."""
        for _ in range(REFITS):
            integers = descend(many, integers, SWEEPS)
            many, integers = self._rescaled(many, integers)
        return many, integers

    def _rescaled(self, many: Rounding, integers: Reals) -> tuple[Rounding, Reals]:
        """The least-squares scale for the integers, (w H v) / (v H v), where scales are free."""
        if self.power_of_two:
            return many, integers
        wanted, size = (
            self._summed(many.products(integers, many.weight)),
            self._summed(many.products(integers, integers)),
        )
        better = np.where((wanted > 0) & (size > 0), wanted / np.where(size > 0, size, 1.0), many.scale)
        unit = self.unit
        # Between the best and the bounds the loss is a parabola: what was inside them stays no worse.
        return many.scaled(np.clip(better, FLOOR * unit, CEILING * unit)), integers

    def _summed(self, products: Reals) -> Reals:
        """Over all rows of a copy, where they share one scale."""
        if self.chosen.is_per_channel:
            return products
        copies = products.reshape(len(products), TRIED, -1)
        return np.broadcast_to(copies.sum(axis=(0, 2))[None, :, None], copies.shape).reshape(products.shape)

    def _best(self, solutions: list[tuple[Rounding, Reals]]) -> tuple[Reals, Reals, Reals]:
        groups, rows, inputs = self.weight.shape
        shape = (groups, TRIED, rows)
        integers = np.concatenate([found.reshape(*shape, inputs) for _, found in solutions], axis=1)
        scales = np.concatenate([many.scale.reshape(shape) for many, _ in solutions], axis=1)
        losses = np.concatenate([many.loss(found).reshape(shape) for many, found in solutions], axis=1)
        best = np.argmin(self._shared(losses.transpose(1, 0, 2)), axis=0)[:, None]
        pick = np.take_along_axis(integers, best[:, :, :, None], axis=1)[:, 0]
        return pick, np.take_along_axis(scales, best, axis=1)[:, 0], np.take_along_axis(losses, best, axis=1)[:, 0]

    def _candidates(self) -> Reals:
        """Scales to try: (candidates, groups, rows), ascending."""
        largest = np.abs(self.weight).max(axis=2)
        if not self.chosen.is_per_channel:
            largest = np.full_like(largest, largest.max())
        covering = np.maximum(largest / _reach(self.chosen), FLOOR * self.unit)
        if self.power_of_two:
            exponents = np.ceil(np.log2(covering))
            powers: Reals = np.exp2(exponents + np.arange(-OCTAVES, 1)[:, None, None])
            return powers
        parts = np.append(np.linspace(NARROWEST.get(math.ceil(self.chosen.bits), 0.7), 1.0, CANDIDATES), WIDEST)
        scales: Reals = np.maximum(parts[:, None, None] * covering, FLOOR * self.unit)
        return scales

    def _shared(self, losses: Reals) -> Reals:
        """What scales are judged by, of losses (n, groups, rows): those of each row, or of all that share one."""
        if self.chosen.is_per_channel:
            return losses
        return np.broadcast_to(losses.sum(axis=(1, 2), keepdims=True), losses.shape)


def _reach(chosen: Format) -> float:
    """The integer that max|w| falls on where nothing is clipped."""
    grid = chosen.grid
    if grid is None:
        return float(chosen.type.highest)
    is_offset = isinstance(grid, Codebook) and grid.kind == "offset"
    return float((1 << (grid.bits - 1)) - 1) if is_offset else float(grid.highest)


def _fitted(chosen: Format, integers: Reals, scale: Reals) -> Fit:
    scales = tuple(scale.ravel()) if chosen.is_per_channel else (float(scale.flat[0]),)
    return Fit(replace(chosen, scale=scales), integers.astype(np.int64))
