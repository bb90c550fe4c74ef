"""Round again for adders: a weight gives up signed powers of two, down to none, where its outputs hardly miss them.

Where products with constants are adders, as on an FPGA without multipliers, a weight takes one for every digit of its
canonical signed form, and none if it is 0. So pruning, powers of two and narrow integers are one question: what is a
digit worth?
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bitsmith.passes.rounding.fit import Fit
from bitsmith.passes.rounding.levels import levels_of
from bitsmith.passes.rounding.problem import Reals, Rounding

SWEEPS = 10
"""Descent mostly ends by itself before."""

FAR = 1e9
"""Beyond every integer that a weight may be."""


def digits(integers: Reals) -> Reals:
    """How many signed powers of two each integer is a sum of, at the least (canonical signed digits)."""
    size = np.abs(integers).astype(np.int64)
    # A number has a digit wherever it and three times it differ.
    counts: Reals = np.bitwise_count(size ^ (3 * size)).astype(np.float64)
    return counts


def spared(weight: Reals, gram: Reals, found: Fit, price: float, damping: float) -> Fit:
    """The same format with integers of fewer digits.

    weight: (groups, rows, k). gram: H, (groups, k, k). damping: see `Rounding.damped`.
    price: of a digit, in parts of w H w, the power of an output's signal, on average over the layer's outputs. Among
    layers the noise that a digit is given up for is then the same part of the signal.
    """
    groups, rows, _ = weight.shape
    scale = np.array(found.format.scale, np.float64)
    spread = scale.reshape(groups, rows) if found.format.is_per_channel else np.full((groups, rows), scale[0])
    problem = Rounding(weight, gram, spread, levels_of(found.format, weight.shape)).damped(damping)
    signal = float(problem.products(weight, weight).mean())
    integers = spare(problem, found.integers.astype(np.float64), price * signal, found.format.type.bits)
    return replace(found, integers=integers.astype(np.int64))


def spare(problem: Rounding, start: Reals, price: float, bits: int) -> Reals:
    """Coordinate descent on (w - s v) H (w - s v)^T + price * digits(v): never more of it than at the start.

    With all others fixed the first term is a parabola around t, as in `comq.descend`, and the best of d digits is
    among the multiples of a power of two next to t, on either side: those nearer to t have more digits.

    start: (groups, rows, k). bits: of the integers.
    """
    integers, scale = start.copy(), problem.scale
    slope = problem.error(start) @ problem.gram
    for _ in range(SWEEPS):
        moved = False
        for column in problem.order().tolist():
            curvature = scale**2 * problem.gram[:, column, column, None]
            held = integers[:, :, column]
            pull = scale * slope[:, :, column]
            ideal = held + pull / np.where(curvature > 0, curvature, np.inf)
            tried = np.stack([held, *_around(problem, ideal, column, bits)])
            change = tried - held
            # What the loss changes by: exact, and 0 where nothing moves.
            worth = change * (curvature * change - 2 * pull) + price * digits(tried)
            best = np.take_along_axis(tried, np.argmin(worth, axis=0)[None], axis=0)[0]
            step = best - held
            if step.any():
                moved = True
                integers[:, :, column] = best
                slope -= (scale * step)[:, :, None] * problem.gram[:, column, None, :]
        if not moved:
            break
    return integers


def _around(problem: Rounding, ideal: Reals, column: int, bits: int) -> list[Reals]:
    """The allowed integers nearest to the multiples of every power of two on either side of `ideal`."""
    lowest, highest = (problem.levels.nearest(np.full_like(ideal, end), column) for end in (-FAR, FAR))
    inside = np.clip(ideal, lowest, highest)
    units = [2.0**exponent for exponent in range(bits)]
    below = [np.floor(inside / unit) * unit for unit in units]
    multiples = [*below, *(one + unit for one, unit in zip(below, units, strict=True))]
    return [problem.levels.nearest(one, column) for one in multiples]
