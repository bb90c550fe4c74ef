"""How much to migrate: what each strength loses of the outputs once weights and activations are rounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.execution.histogram import StreamingHistogram
from bitsmith.ir.formats import Format, IntegerType, affine, symmetric
from bitsmith.ir.graph import Node
from bitsmith.ir.linear import SMALLEST_CHANNEL
from bitsmith.ir.statistics import ValueStatistics
from bitsmith.observers import choose_range
from bitsmith.passes.rounding.fit import fit
from bitsmith.passes.rounding.layer import rows_of
from bitsmith.passes.smooth.apply import spread
from bitsmith.passes.smooth.samples import Seen

Vector = npt.NDArray[np.float64]

WIDE = 8
"""Bits from which on ranges cover all that was seen; of fewer, those that lose least by squared error."""

FLOOR = 1e-5
"""No channel counts as smaller than this part of the largest: a dead one must not be scaled without bound."""

BINS = 256


@dataclass(frozen=True)
class Formats:
    """What the compile will round to.

    weights, activations: bits. granularity: of weights, channel or tensor. symmetric: whether the zero points of
    activations must be 0.
    """

    weights: int
    activations: int
    granularity: str
    symmetric: bool


def smoothing_scale(inputs: Vector, weights: Vector, strength: float) -> Vector:
    """s_j = max|X_j|^a / max|W_j|^(1-a) for each channel j (equation 4), from the maxima; geometric mean 1.

    One factor for all channels makes no difference to any grid.
    """
    x, w = (np.maximum(largest, FLOOR * largest.max()) for largest in (inputs, weights))
    logarithm = strength * np.log(x) - (1 - strength) * np.log(w)
    scale: Vector = np.exp(logarithm - logarithm.mean())
    return scale


def largest_weights(readers: Iterable[Node], channels: int) -> Vector:
    """max|W_j|: by input channel, the largest |weight| that reads it in any of the linear ops."""
    largest = np.zeros(channels)
    for node in readers:
        rows = np.abs(rows_of(node)).max(axis=1)
        largest = np.maximum(largest, rows.reshape(channels, -1).max(axis=1))
    return largest


@dataclass(frozen=True, eq=False)
class OutputError:
    """What rounding costs the outputs of the readers of an activation whose channels are divided by some scale."""

    seen: Seen
    weights: Mapping[Node, Vector]
    formats: Formats

    @classmethod
    def of(cls, readers: Iterable[Node], seen: Seen, formats: Formats) -> OutputError:
        return cls(seen, {node: rows_of(node) for node in readers}, formats)

    def at(self, scale: Vector) -> float:
        """The sum over readers of |X W - Q(X / s) Q(s W)|^2 / |X W|^2, over the rows that were seen."""
        inputs = self._inputs(scale)
        total = 0.0
        for node, weight in self.weights.items():
            rows, factor = self.seen.rows[node], spread(node, scale)
            exact = rows @ weight.transpose(0, 2, 1)
            rounded = inputs.dequantize(inputs.quantize(rows / factor)).astype(np.float64)
            found = rounded @ rounded_weight(weight * factor, self.formats).transpose(0, 2, 1)
            power = float(np.square(exact).sum())
            total += float(np.square(found - exact).sum()) / power if power > 0 else 0.0
        return total

    def _inputs(self, scale: Vector) -> Format:
        """The format of the divided activation."""
        formats = self.formats
        lowest, highest = float((self.seen.lowest / scale).min()), float((self.seen.highest / scale).max())
        if formats.activations < WIDE:
            # Zeros of padding are among the rows, and cost nothing on any grid.
            histogram = StreamingHistogram(BINS)
            for node, rows in self.seen.rows.items():
                part = (rows / spread(node, scale)).astype(np.float32).reshape(-1)
                histogram.add(part, float(part.min()), float(part.max()))
            counted = ValueStatistics(lowest, highest, np.zeros(0), histogram.result())
            lowest, highest = choose_range("mse", counted, 1 << formats.activations, formats.symmetric)
        if formats.symmetric:
            return symmetric(max(-lowest, highest), IntegerType(formats.activations, signed=lowest < 0))
        return affine(lowest, highest, IntegerType(formats.activations))


def rounded_weight(rows: Vector, formats: Formats) -> Vector:
    """The weight (groups, rows, k) on the grid that quantize-weights gives it, to the nearest."""
    kind, largest = IntegerType(formats.weights), np.abs(rows).max(axis=2, keepdims=True)
    whole = float(largest.max()) or 1.0
    covering = np.maximum(largest, whole * SMALLEST_CHANNEL) / kind.highest
    if formats.granularity == "tensor":
        covering = np.full((1, 1, 1), whole / kind.highest)
    if formats.weights >= WIDE:
        rounded: Vector = np.floor(rows / covering + 0.5) * covering
        return rounded
    chosen = Format(kind, tuple(covering.ravel()), axis=0 if covering.size > 1 else None)
    alike = np.broadcast_to(np.eye(rows.shape[2]), (rows.shape[0], rows.shape[2], rows.shape[2]))
    return fit(rows, alike, chosen, solver="nearest").rounded
