"""Which channels can go: those whose every reader can do without them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bitsmith.ir.grids import Grouped
from bitsmith.ir.integer import (
    AveragePool,
    Conv,
    IntegerGraph,
    InterpolatedTable,
    Linear,
    MaxPool,
    Operation,
    Reshape,
    Table,
)
from bitsmith.passes.drop_constant_channels.ranges import Ranges, flattens

Mask = npt.NDArray[np.bool_]


def is_dense(graph: IntegerGraph, operation: Operation) -> bool:
    """Whether each output channel sums over all input channels: those of its weights' rows may go, and its columns."""
    match operation:
        case Conv():
            return operation.groups == 1
        case Linear():
            return len(graph.operands(operation)[0].shape) == 1
        case _:
            return False


def copies(graph: IntegerGraph, operation: Operation) -> int | None:
    """How many output channels, side by side, an input channel alone makes; None where channels are mixed."""
    shape = graph.operands(operation)[0].shape
    match operation:
        case Conv() if operation.groups > 1 and operation.groups == shape[0]:
            return len(operation.weight) // operation.groups
        case AveragePool() | MaxPool():
            return 1
        case Table() | InterpolatedTable() if shape:
            return 1
        case Reshape() if flattens(shape, graph.result(operation).shape):
            return math.prod(shape[1:])
        case _:
            return None


def dropped_channels(graph: IntegerGraph, ranges: Mapping[str, Ranges]) -> dict[str, Mask]:
    """By value, the channels that go: True for each. Values that lose none are left out."""
    spare = _spare(graph, ranges)
    dropped: dict[str, Mask] = {}
    for operation in graph:
        output = operation.output
        if is_dense(graph, operation):
            mask = spare[output].copy()
            if mask.all():
                mask[0] = False  # a value of no channels is none
        else:
            times, source = copies(graph, operation), dropped.get(operation.inputs[0])
            if times is None or source is None:
                continue
            mask = np.repeat(source, times)
        if mask.any():
            dropped[output] = mask
    return dropped


def _spare(graph: IntegerGraph, ranges: Mapping[str, Ranges]) -> dict[str, Mask]:
    """By value, the channels that all its readers can do without; none of an output of the graph."""
    spare = {name: np.full(len(one.lowest), name not in graph.outputs) for name, one in ranges.items()}
    for name, value in graph.values.items():
        if value.format.is_per_channel:
            spare[name][:] = False
    for operation in reversed(graph.operations):
        for name in operation.inputs:
            spare[name] &= _spared_by(graph, operation, name, ranges[name], spare[operation.output])
    return spare


def _spared_by(graph: IntegerGraph, operation: Operation, name: str, x: Ranges, output: Mask) -> Mask:
    """The channels of an operand that this operation can do without, given those of its output that can go.

    A dense one can do without a constant: what it adds goes into the bias. That is the same at every position only
    where no window sees padding in its stead, or where it adds nothing, being at the zero point.
    """
    if is_dense(graph, operation) and isinstance(operation, Conv | Linear):
        if isinstance(operation.weight_format.grid, Grouped):
            return np.zeros(len(x.lowest), np.bool_)  # runs of inputs would be cut
        is_padded = isinstance(operation, Conv) and any(operation.pads)
        adds_nothing = x.lowest == graph.values[name].format.zero_point
        spared: Mask = x.is_constant & (adds_nothing | (not is_padded))
        return spared
    times = copies(graph, operation)
    if times is None:
        return np.zeros(len(x.lowest), np.bool_)
    whole: Mask = np.logical_and.reduce(output.reshape(-1, times), axis=1)
    return whole
