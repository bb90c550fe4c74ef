"""Static bounds: what range each value stays in, and how large each accumulator can grow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.errors import UnsupportedError
from bitsmith.ir.blocks import blocks
from bitsmith.ir.integer import (
    KNOT_FRACTION,
    Add,
    AveragePool,
    Concat,
    Conv,
    IntegerGraph,
    InterpolatedTable,
    LayerNorm,
    Linear,
    MatMul,
    MaxPool,
    Mul,
    Operation,
    Pad,
    Shape,
    Softmax,
    Table,
    Thresholds,
)
from bitsmith.ir.layer_norm import reach

INT8_MAGNITUDE = (1 << 7) - 1
INT32_MAGNITUDE = (1 << 31) - 1
INT64_MAGNITUDE = (1 << 62) - 1


@dataclass(frozen=True)
class Interval:
    """All integers from `lowest` to `highest`, both included."""

    lowest: int
    highest: int

    @property
    def magnitude(self) -> int:
        """The greatest absolute value in it."""
        return max(abs(self.lowest), abs(self.highest))

    def minus(self, zero_point: int) -> Interval:
        """What these integers reach less a zero point."""
        return Interval(self.lowest - zero_point, self.highest - zero_point)


@dataclass(frozen=True)
class Bounds:
    """values: the range of each value. accumulators: by operation name, a magnitude that no partial sum of
    its accumulator exceeds, in whatever order the terms are added (the bias first, last or between)."""

    values: Mapping[str, Interval]
    accumulators: Mapping[str, int]


def bounds(graph: IntegerGraph) -> Bounds:
    """Bound every value and accumulator; an accumulator that int32 cannot hold is an error naming the node."""
    values: dict[str, Interval] = {}
    accumulators: dict[str, int] = {}
    for name in graph.inputs:
        kind = graph.values[name].format.type
        values[name] = Interval(kind.lowest, kind.highest)
    for name, constant in graph.constants.items():
        values[name] = Interval(int(constant.min()), int(constant.max()))
    for operation in graph:
        operands = [values[name] for name in operation.inputs]
        centred = [
            interval.minus(value.format.zero_point)
            for interval, value in zip(operands, graph.operands(operation), strict=True)
        ]
        shape = graph.operands(operation)[0].shape
        magnitude = accumulator_magnitude(operation, centred, shape)
        if magnitude is not None:
            # The operands of an Add are scaled before they meet: its terms are the 64-bit products themselves.
            width = 64 if isinstance(operation, Add | LayerNorm) else 32
            if magnitude > (INT64_MAGNITUDE if width == 64 else INT32_MAGNITUDE):
                raise UnsupportedError(
                    f"the accumulator can reach {magnitude:,}, which int{width} cannot hold",
                    where=f"{operation.kind} {operation.name}",
                    fix=_remedy(operation, centred),
                )
            accumulators[operation.name] = magnitude
        values[operation.output] = result_interval(operation, operands)
    return Bounds(values, accumulators)


def _remedy(operation: Operation, centred: list[Interval]) -> str:
    """What would make the accumulator of `operation` fit."""
    if not isinstance(operation, Conv | Linear):
        return "Use fewer bits for its inputs."
    weight, bias = _sums(operation)
    room = INT32_MAGNITUDE - bias
    if (room < 0).any():
        return "Its bias alone does not fit: use a coarser scale for its weights or its input."
    reach = int((room // np.maximum(weight, 1)).min())
    fewer = math.ceil(math.log2(centred[0].magnitude / max(reach, 1)))
    grid = operation.weight_format.grid
    narrower = "Use an int format" if grid is not None and grid.highest > INT8_MAGNITUDE else "Use fewer bits"
    return (
        f"{narrower} for its weights, or {fewer} bit{'s' * (fewer > 1)} fewer for its input, whose integers less their "
        f"zero point reach {centred[0].magnitude:,} where {reach:,} would fit, or split the layer along its input."
    )


def accumulator_magnitude(operation: Operation, centred: list[Interval], shape: Shape) -> int | None:
    """The largest |partial sum| of the accumulator, given the operands' ranges less their zero points.

    shape: of the first operand.

    None for operations that only move or select elements.
    """
    match operation:
        case Conv() | Linear():
            weight, bias = _sums(operation)
            return int((weight * centred[0].magnitude + bias).max())
        case Add():
            return sum(
                abs(multiplier) * interval.magnitude
                for multiplier, interval in zip(operation.multipliers, centred, strict=True)
            )
        case Mul():
            return centred[0].magnitude * centred[1].magnitude
        case MatMul():
            left = centred[0].magnitude if operation.levels is None else int(operation.levels.max())
            return left * centred[1].magnitude * shape[-1]
        case Softmax():
            return max(shape[-1] * operation.one, 1 << 30)
        case LayerNorm():
            return max(_squares(operation, centred[0], shape[-1]), _gained(operation, shape[-1]))
        case AveragePool():
            return centred[0].magnitude * math.prod(operation.kernel)
        case _:
            return None


def _sums(operation: Conv | Linear) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Per output: the sum of the weights' magnitudes, and the magnitude of the bias."""
    rows = operation.weight.reshape(len(operation.weight), -1)
    weight = [np.abs(rows[part].astype(np.int64)).sum(axis=1) for part in blocks(len(rows), rows.size)]
    return np.concatenate(weight), np.abs(operation.bias.astype(np.int64))


def _squares(operation: LayerNorm, centred: Interval, count: int) -> int:
    """What n * sum x^2 and its epsilon can reach; and with it |d| < 2^31 wherever it is below 2^62."""
    span = max(centred.highest - centred.lowest, centred.magnitude)
    return (count * span << operation.finer) ** 2 + operation.epsilon


def _gained(operation: LayerNorm, count: int) -> int:
    normal = reach(count, operation.fraction)
    return max(normal * abs(int(g)) + abs(int(o)) for g, o in zip(operation.gain, operation.offset, strict=True))


def result_interval(operation: Operation, operands: list[Interval]) -> Interval:
    """The range of the output, given the operands' ranges."""
    match operation:
        case Conv() | Linear() | Add() | Mul() | MatMul() | Softmax() | LayerNorm() | AveragePool():
            rule = operation.requantize
            if isinstance(rule, Thresholds):
                return Interval(0, rule.thresholds.size)
            return Interval(rule.lowest, rule.highest if rule.caps is None else int(rule.caps.max()))
        case Table():
            return Interval(int(operation.entries.min()), int(operation.entries.max()))
        case InterpolatedTable():
            # Between two knots no line is beyond them.
            step = 1 << KNOT_FRACTION
            ends = [(int(end) + step // 2) // step for end in (operation.knots.min(), operation.knots.max())]
            return Interval(*(min(max(end, operation.lowest), operation.highest) for end in ends))
        case Concat():
            return Interval(min(o.lowest for o in operands), max(o.highest for o in operands))
        case Pad():
            return Interval(min(operands[0].lowest, operation.value), max(operands[0].highest, operation.value))
        case MaxPool() | _:
            return operands[0]
