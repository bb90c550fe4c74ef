"""What range each channel of each value stays in, whatever the inputs: bounds by interval arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.ir.bounds import Interval, result_interval
from bitsmith.ir.integer import (
    AveragePool,
    Conv,
    IntegerGraph,
    InterpolatedTable,
    Linear,
    MaxPool,
    Operation,
    Requantize,
    Reshape,
    Shape,
    Table,
    requantized,
)
from bitsmith.ir.interpolation import written_out

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ranges:
    """All integers from `lowest` to `highest`, both included, for each channel: (channels,) each.

    Channels are those of axis 0 of one sample.
    """

    lowest: Integers
    highest: Integers

    @property
    def is_constant(self) -> npt.NDArray[np.bool_]:
        return np.equal(self.lowest, self.highest)

    @property
    def whole(self) -> Interval:
        return Interval(int(self.lowest.min()), int(self.highest.max()))


def channel_ranges(graph: IntegerGraph) -> Mapping[str, Ranges]:
    """The ranges of every value of the graph that has an axis 0."""
    found: dict[str, Ranges] = {}
    for name in graph.inputs:
        kind = graph.values[name].format.type
        found[name] = _uniform(graph.values[name].shape, Interval(kind.lowest, kind.highest))
    for name, constant in graph.constants.items():
        found[name] = _uniform(graph.values[name].shape, Interval(int(constant.min()), int(constant.max())))
    for operation in graph:
        found[operation.output] = _result(graph, operation, [found[name] for name in operation.inputs])
    return found


def _uniform(shape: Shape, interval: Interval) -> Ranges:
    channels = shape[0] if shape else 1
    return Ranges(np.full(channels, interval.lowest, np.int64), np.full(channels, interval.highest, np.int64))


def _result(graph: IntegerGraph, operation: Operation, operands: list[Ranges]) -> Ranges:
    x, shape, made = operands[0], graph.operands(operation)[0].shape, graph.result(operation)
    zero = graph.operands(operation)[0].format.zero_point
    match operation:
        case Conv():
            centred = _centred(x, zero, any(operation.pads))
            return _requantized(operation.requantize, _sums(operation, centred, operation.groups), len(made.shape))
        case Linear() if len(shape) == 1:
            return _requantized(operation.requantize, _sums(operation, _centred(x, zero, False), 1), 1)
        case AveragePool():
            centred, taps = _centred(x, zero, any(operation.pads)), math.prod(operation.kernel)
            sums = Ranges(centred.lowest * taps, centred.highest * taps)
            return _requantized(operation.requantize, sums, len(made.shape))
        case MaxPool():
            return x
        case Table() if shape:
            return _looked_up(operation, x, graph.operands(operation)[0].format.type.lowest)
        case InterpolatedTable() if shape:
            lowest = graph.operands(operation)[0].format.type.lowest
            return _looked_up(written_out(operation, made.format.type), x, lowest)
        case Reshape() if flattens(shape, made.shape):
            times = math.prod(shape[1:])
            return Ranges(np.repeat(x.lowest, times), np.repeat(x.highest, times))
        case _:
            return _uniform(made.shape, result_interval(operation, [operand.whole for operand in operands]))


def flattens(shape: Shape, made: Shape) -> bool:
    """Whether a Reshape lays the elements of a channel side by side: (channels, *space) to (channels * space,)."""
    return len(shape) >= 1 and len(made) == 1


def _centred(x: Ranges, zero_point: int, is_padded: bool) -> Ranges:
    """Less the zero point; a window over padding sees 0 too."""
    lowest, highest = x.lowest - zero_point, x.highest - zero_point
    return Ranges(np.minimum(lowest, 0), np.maximum(highest, 0)) if is_padded else Ranges(lowest, highest)


def _sums(operation: Conv | Linear, x: Ranges, groups: int) -> Ranges:
    """Of the accumulator: every term at its least, and at its most."""
    weight = operation.weight.astype(np.int64)
    outputs, inputs = weight.shape[:2]
    rows = weight.reshape(groups, outputs // groups, inputs, -1)
    up, down = np.maximum(rows, 0).sum(axis=3), np.minimum(rows, 0).sum(axis=3)
    least, most = x.lowest.reshape(groups, 1, inputs), x.highest.reshape(groups, 1, inputs)
    bias = operation.bias.astype(np.int64)
    return Ranges(
        bias + (up * least + down * most).sum(axis=2).ravel(), bias + (up * most + down * least).sum(axis=2).ravel()
    )


def _requantized(rule: Requantize, sums: Ranges, rank: int) -> Ranges:
    """Requantizing never falls where the accumulator rises, so the ends of the range are mapped to its ends."""
    channels = len(sums.lowest)
    lowest, highest = (
        requantized(rule, end.reshape(-1, *[1] * (rank - 1))).reshape(channels, -1)
        for end in (sums.lowest, sums.highest)
    )
    return Ranges(lowest.min(axis=1), highest.max(axis=1))


def _looked_up(operation: Table, x: Ranges, first: int) -> Ranges:
    """The least and the largest entry over each channel's range."""
    rows = operation.entries.astype(np.int64)
    parts = [
        rows[channel % len(rows), low - first : high - first + 1]
        for channel, (low, high) in enumerate(zip(x.lowest, x.highest, strict=True))
    ]
    return Ranges(np.array([part.min() for part in parts]), np.array([part.max() for part in parts]))
