"""What kernels share that multiply panels of columns by blocks of rows.

A column is what one output pixel sees: a window gathered, or a row of a Linear's input. A panel is as many columns as
the second cache level holds; a block of rows, one lane an output, meets all of a panel's columns a few at a time, so
that a vector of weights that was loaded serves several columns, and a column several vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels import trits
from bitsmith.backends.c.kernels.conv import weight_rows, window_of
from bitsmith.backends.c.kernels.kernel import Constant, Site
from bitsmith.backends.c.kernels.requantize import rescale_function
from bitsmith.backends.c.kernels.window import Window, gap
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import Conv, Linear, Requantize

PANEL_BYTES = 1 << 17
LANES = 16
"""Outputs that are requantized together."""


@dataclass(frozen=True, eq=False)
class Gemm:
    """A convolution of one group, or a Linear, as columns times rows.

    rows: (outputs, length). bias: int64, (outputs,). over: the window; None of a Linear. pixels: columns in all.
    ternary: whether the weights are.
    """

    rows: IntegerArray
    bias: npt.NDArray[np.int64]
    rule: Requantize
    over: Window | None
    pixels: int
    channels: int
    ternary: bool

    @property
    def outputs(self) -> int:
        return len(self.rows)

    @property
    def length(self) -> int:
        return int(self.rows.shape[1])

    @property
    def is_direct(self) -> bool:
        """Whether a column lies in the input as it is."""
        return self.over is None or self.over.is_pointwise

    def gap(self, site: Site, panel: int) -> dict[int, int | None]:
        """Where the output may lie over the input, of which all that a panel needs is read before it is written."""
        if self.over is not None:
            return {0: gap(site, self.over.first_reads(), buffered=True, block=panel)}
        return {0: -site.output.bytes} if self.pixels == 1 else {}


def gemm(site: Site) -> Gemm | str:
    """The operation as columns times rows, or why it is none that vectors of 8-bit inputs can do."""
    operation = site.operation
    if "avx2" not in site.target.features:
        return "the target has no AVX2"
    if not isinstance(operation, Conv | Linear):
        return "it is no convolution or Linear"
    rule = operation.requantize
    if site.x.itemsize != 1 or site.output.itemsize != 1:
        return "it is not of 8-bit values"
    if rule.caps is not None or rule.multiplier.size not in (1, len(operation.weight)):
        return "its multipliers are not by channel, or its upper bounds are"
    if rescale_function(rule, site.magnitude) != "requantize":
        return "its rescaled accumulator may pass 32 bits"
    bias, ternary = operation.bias.astype(np.int64), trits.is_ternary(operation.weight_format)
    if isinstance(operation, Conv):
        if operation.groups != 1:
            return "it has groups"
        over = window_of(site, operation)
        return Gemm(weight_rows(operation), bias, rule, over, math.prod(over.output), site.x.shape[-1], ternary)
    if len(site.x.logical) > 1 and site.x.logical[0] > 1:
        return "its features are not side by side"
    inputs = operation.weight.shape[1]
    return Gemm(operation.weight, bias, rule, None, site.x.elements // inputs, inputs, ternary)


def columns_at_once(pixels: int, most: int) -> int:
    """How many columns a tile has: those that leave least of the last tile unused, and the more the better."""

    def price(each: int) -> float:
        return math.ceil(pixels / each) * (each + 0.25)

    return min(range(most, 0, -1), key=price)


def panel(pixels: int, at_once: int, column_bytes: int) -> int:
    """Columns of a panel: whole tiles, as many as there are or as fit."""
    fitting = max(PANEL_BYTES // (column_bytes * at_once), 1)
    return min(fitting, math.ceil(pixels / at_once)) * at_once


def padded(values: npt.NDArray[np.integer[Any]], lanes: int, axis: int = 0) -> npt.NDArray[np.integer[Any]]:
    """With zeros behind, up to a multiple of `lanes` along an axis."""
    missing = [(0, -size % lanes if at == axis else 0) for at, size in enumerate(values.shape)]
    return np.pad(values, missing)


def steps(bias: npt.NDArray[np.int64], rule: Requantize, lanes: int) -> tuple[Constant, Constant]:
    """The biases and multipliers of blocks of outputs."""
    multiplier = np.broadcast_to(rule.multiplier.ravel(), len(bias))
    return (
        Constant("bias", "int32_t", padded(bias, lanes)),
        Constant("multiplier", "int32_t", padded(multiplier, lanes), f"by output, over 2^{rule.shift}"),
    )


def runs(reaches: npt.NDArray[np.int64], padding: int, limit: int, multiple: int) -> tuple[int, int] | None:
    """The longest run of steps over which no row's sum passes a limit, a multiple, and how many of it a row takes.

    reaches: (rows, steps): how far each step can move a sum. padding: how far a step can that fills up the last run.
    None where not even the shortest run keeps within the limit.
    """
    rows, count = reaches.shape
    if int(reaches.max()) > limit:
        return None
    fewest = max(-(-int(reaches.sum(axis=1).max()) // limit), 1)
    for number in range(fewest, -(-count // multiple) + 1):
        # The last of so many runs may be filled up almost to another: one fewer may do.
        run = -(-count // (number * multiple)) * multiple
        needed = -(-count // run)
        full = np.pad(reaches, ((0, 0), (0, run * needed - count)), constant_values=padding)
        if int(full.reshape(rows, needed, run).sum(axis=2).max()) <= limit:
            return run, needed
    return None
