"""What range each channel of each float value stays in, as long as values stay in the ranges that calibration saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.ir.blocks import blocks
from bitsmith.ir.fusion import channel_caps
from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.ir.linear import bias_value
from bitsmith.ir.statistics import Statistics
from bitsmith.passes.equalize.channels import keeps_channel_order, unscalable

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranges:
    """All numbers from `lowest` to `highest`, by channel along axis 1: float64 (channels,) each."""

    lowest: Vector
    highest: Vector

    @property
    def constant(self) -> npt.NDArray[np.float32]:
        """The one float32 that a channel can be, float32 (channels,); NaN where it can be several."""
        lowest, highest = self.lowest.astype(np.float32), self.highest.astype(np.float32)
        return np.where(lowest == highest, lowest, np.float32(np.nan))

    def within(self, lowest: npt.ArrayLike, highest: npt.ArrayLike) -> Ranges:
        """Clamped to an interval."""
        return Ranges(np.clip(self.lowest, lowest, highest), np.clip(self.highest, lowest, highest))


def channel_ranges(graph: Graph, statistics: Statistics) -> dict[Value, Ranges]:
    """The ranges of every computed value with channels: by interval arithmetic, from what calibration saw on."""
    found: dict[Value, Ranges] = {}
    for value in graph.inputs:
        if _has_channels(value):
            found[value] = _seen(value, statistics)
    for node in graph.nodes():
        for output in node.outputs:
            if _has_channels(output):
                computed = _computed(node, found)
                found[output] = _seen(output, statistics) if computed is None else _met(output, computed, statistics)
    return found


def _has_channels(value: Value) -> bool:
    return value.constant is None and value.rank >= 2 and value.shape[1] is not None


def _seen(value: Value, statistics: Statistics) -> Ranges:
    """The range of the whole tensor, for each of its channels; everything where it was not watched."""
    channels = value.shape[1] or 0
    if value.name not in statistics.values:
        return Ranges(np.full(channels, -np.inf), np.full(channels, np.inf))
    one = statistics.values[value.name]
    return Ranges(np.full(channels, min(one.minimum, 0.0)), np.full(channels, max(one.maximum, 0.0)))


def _met(value: Value, computed: Ranges, statistics: Statistics) -> Ranges:
    """What is computed, no further out than what was seen; a channel that is constant is what it is."""
    seen = _seen(value, statistics)
    narrowed = computed.within(seen.lowest, seen.highest)
    is_one = ~np.isnan(computed.constant)
    return Ranges(
        np.where(is_one, computed.lowest, narrowed.lowest), np.where(is_one, computed.highest, narrowed.highest)
    )


def _computed(node: Node, found: Mapping[Value, Ranges]) -> Ranges | None:
    """The ranges of what a node makes of its operands' ranges; None where nothing is said of its op."""
    operands = [value for value in node.inputs if value is not None and value.constant is None]
    if not operands or any(value not in found for value in operands):
        return None
    x = found[operands[0]]
    match node.op:
        case "Conv" | "Gemm" if len(operands) == 1 and unscalable(node) is None:
            return _sums(node, x)
        case "Relu":
            return x.within(0.0, np.inf)
        case "Clip":
            bounds = [node.constant(index) for index in (1, 2)]
            if all(node.input(index) is None or node.constant(index) is not None for index in (1, 2)):
                lowest, highest = (
                    default if bound is None else float(bound.item())
                    for bound, default in zip(bounds, (-np.inf, np.inf), strict=True)
                )
                return x.within(lowest, highest)
            return None
        case "Min":
            caps = channel_caps(node)
            return None if caps is None else x.within(-np.inf, caps)
        case "MaxPool" | "GlobalAveragePool":
            return x
        case "AveragePool":
            return _with_zero(x) if node.attribute("count_include_pad", 0) else x
        case "Reshape" if keeps_channel_order(operands[0], node.output):
            times = (node.output.shape[1] or 0) // len(x.lowest)
            return Ranges(np.repeat(x.lowest, times), np.repeat(x.highest, times))
        case "Add" if len(operands) == 2 and all(len(found[one].lowest) == node.output.shape[1] for one in operands):
            other = found[operands[1]]
            return Ranges(x.lowest + other.lowest, x.highest + other.highest)
        case _:
            return None


def _sums(node: Node, x: Ranges) -> Ranges:
    """Of a Conv or Gemm: every term at its least, and at its most; what is padded may be 0 as well."""
    weight = node.array(1)
    groups = int(node.attribute("group", 1))
    rows = weight.reshape(groups, len(weight) // groups, weight.shape[1], -1)
    reach = _with_zero(x) if is_padded(node) else x
    least, most = reach.lowest.reshape(groups, 1, -1), reach.highest.reshape(groups, 1, -1)
    found = bias_value(node)
    bias = 0.0 if found is None else found.array.astype(np.float64).ravel()
    parts = [_sums_of(rows[:, part], least, most) for part in blocks(rows.shape[1], rows.size)]
    lowest, highest = (np.concatenate(ends, axis=1).ravel() + bias for ends in zip(*parts, strict=True))
    return Ranges(lowest, highest)


def _sums_of(rows: npt.NDArray[np.float32], least: Vector, most: Vector) -> tuple[Vector, Vector]:
    """The ends of sums with these weights, (groups, outputs, inputs, window); (groups, outputs) each."""
    up = np.maximum(rows, 0).sum(axis=3, dtype=np.float64)
    down = np.minimum(rows, 0).sum(axis=3, dtype=np.float64)
    lowest, highest = _times(up, least) + _times(down, most), _times(up, most) + _times(down, least)
    # Whatever the order of a float32 sum, it is no further off than this.
    loose = rows.shape[2] * rows.shape[3] * 2.0**-24 * (_times(up, abs(most)) - _times(down, abs(least)))
    return (lowest - loose).sum(axis=2), (highest + loose).sum(axis=2)


def _times(weights: Vector, ends: Vector) -> Vector:
    """Products in which a weight of 0 is 0 even of an infinite end."""
    with np.errstate(invalid="ignore"):
        return np.where(weights == 0, 0.0, weights * ends)


def _with_zero(x: Ranges) -> Ranges:
    return Ranges(np.minimum(x.lowest, 0.0), np.maximum(x.highest, 0.0))


def is_padded(node: Node) -> bool:
    """Whether windows of a Conv see zeros that stand in for what is not there."""
    return any(node.attribute("pads", ())) or node.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
