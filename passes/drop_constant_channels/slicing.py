"""The integer graph without some of its channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from bitsmith.ir.formats import Format
from bitsmith.ir.grids import Codebook, Grouped
from bitsmith.ir.integer import (
    AveragePool,
    Conv,
    Function,
    IntegerGraph,
    InterpolatedTable,
    Linear,
    Operation,
    Requantize,
    Shape,
    Table,
)
from bitsmith.passes.drop_constant_channels.choice import Mask, is_dense
from bitsmith.passes.drop_constant_channels.ranges import Integers, Ranges

Item = TypeVar("Item")


def without(graph: IntegerGraph, dropped: Mapping[str, Mask], ranges: Mapping[str, Ranges]) -> IntegerGraph:
    """The graph without these channels; what a constant one added to a sum goes into the bias, exactly.

    No accumulator grows by that: |b + (c - z) * w| <= |b| + |c - z| * |w|, and the bound of its partial sums had room
    for the right side already.
    """
    values = dict(graph.values)
    for name, mask in dropped.items():
        shape = values[name].shape
        values[name] = replace(values[name], shape=(int((~mask).sum()), *shape[1:]))
    operations = tuple(_sliced(graph, operation, dropped, ranges) for operation in graph)
    return replace(graph, values=values, operations=operations)


def _sliced(
    graph: IntegerGraph, operation: Operation, dropped: Mapping[str, Mask], ranges: Mapping[str, Ranges]
) -> Operation:
    gone = dropped.get(operation.inputs[0])
    if gone is not None and isinstance(operation, Conv | Linear) and is_dense(graph, operation):
        lowest = ranges[operation.inputs[0]].lowest
        operation = _without_inputs(operation, gone, lowest - graph.operands(operation)[0].format.zero_point)
    mask = dropped.get(operation.output)
    if mask is None:
        return operation
    keep, rank = ~mask, len(graph.result(operation).shape)
    match operation:
        case Conv() | Linear():
            kept = replace(
                operation,
                weight=operation.weight[keep],
                bias=operation.bias[keep],
                weight_format=_format(operation.weight_format, keep),
                requantize=_rule(operation.requantize, keep, rank),
            )
            if isinstance(kept, Conv) and kept.groups > 1:
                return replace(kept, groups=len(kept.weight) * kept.groups // len(keep))
            return kept
        case AveragePool():
            return replace(operation, requantize=_rule(operation.requantize, keep, rank))
        case Table() if len(operation.entries) > 1:
            function = _function(operation.function, keep)
            return replace(operation, entries=operation.entries[keep], function=function)
        case InterpolatedTable() if len(operation.knots) > 1:
            return replace(operation, knots=operation.knots[keep], function=_function(operation.function, keep))
        case _:
            return operation


def _without_inputs(operation: Conv | Linear, gone: Mask, centred: Integers) -> Conv | Linear:
    """Without these input channels, which are constant at `centred` less the zero point.

    The new bias is a partial sum of what the accumulator was, so it is within the bound that int32 was proved to hold.
    """
    taps = operation.weight[:, gone].astype(np.int64)
    added = taps.reshape(*taps.shape[:2], -1).sum(axis=2) @ centred[gone]
    return replace(operation, weight=operation.weight[:, ~gone], bias=operation.bias + added)


def _format(chosen: Format, keep: Mask) -> Format:
    """Of weights, with the scales and the grid of the output channels that stay."""
    grid = chosen.grid
    if isinstance(grid, Codebook) and len(grid.rows) > 1:
        grid = replace(grid, rows=_kept(grid.rows, keep))
    elif isinstance(grid, Grouped):
        grid = replace(grid, multipliers=_kept(grid.multipliers, keep))
    return replace(chosen, scale=_kept(chosen.scale, keep) if len(chosen.scale) > 1 else chosen.scale, grid=grid)


def _rule(rule: Requantize, keep: Mask, rank: int) -> Requantize:
    caps = None if rule.caps is None else _per_channel(rule.caps, keep, rank)
    return replace(rule, multiplier=_per_channel(rule.multiplier, keep, rank), caps=caps)


def _per_channel(array: Integers, keep: Mask, rank: int) -> npt.NDArray[np.int64]:
    """Sliced where it has one entry, or more, a channel; as it is where all channels share it."""
    is_per_channel = array.ndim == rank and len(array) == len(keep)
    return array[keep] if is_per_channel else array


def _function(function: Function, keep: Mask) -> Function:
    """With the constants of the channels that stay, of those that have one a channel."""

    def sliced(shape: Shape, numbers: tuple[float, ...]) -> tuple[Shape, tuple[float, ...]]:
        if math.prod(shape) != len(keep):
            return shape, numbers
        return tuple(int(keep.sum()) if size == len(keep) else size for size in shape), _kept(numbers, keep)

    return replace(function, constants=tuple(sliced(*constant) for constant in function.constants))


def _kept(items: tuple[Item, ...], keep: Mask) -> tuple[Item, ...]:
    return tuple(item for item, stays in zip(items, keep, strict=True) if stays)
