"""The operations that move, select or look up elements, in numpy: integers in, integers out.

Arrays are batched, (samples, *shape), in their storage types.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import numpy as np

from bitsmith.errors import InternalError
from bitsmith.execution.sums import padded, per_channel, window_taps
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import (
    Concat,
    IntegerGraph,
    InterpolatedTable,
    MaxPool,
    Operation,
    Pad,
    Reshape,
    Resize,
    Slice,
    Table,
    Transpose,
)
from bitsmith.ir.interpolation import interpolated

Operands = Sequence[IntegerArray]


@singledispatch
def move(operation: Operation, operands: Operands, graph: IntegerGraph) -> IntegerArray:
    """The result of `operation`: (samples, *shape), in its storage type."""
    raise InternalError(f"the interpreter does not know a {operation.kind}", where=operation.name)


@move.register
def _max_pool(operation: MaxPool, operands: Operands, graph: IntegerGraph) -> IntegerArray:
    lowest = graph.operands(operation)[0].format.type.lowest
    x = padded(operands[0], operation.pads, lowest)
    taps = window_taps(x, operation.kernel, operation.strides, operation.dilations)
    largest = next(taps).copy()
    for under in taps:
        np.maximum(largest, under, out=largest)
    return largest


@move.register
def _table(operation: Table, operands: Operands, graph: IntegerGraph) -> IntegerArray:
    entries = operation.entries
    lowest = graph.operands(operation)[0].format.type.lowest
    index = operands[0].astype(np.int64) - lowest
    row = per_channel(np.arange(len(entries)), index) if len(entries) > 1 else 0
    found: IntegerArray = entries[row, index]
    return found


@move.register
def _interpolated_table(operation: InterpolatedTable, operands: Operands, graph: IntegerGraph) -> IntegerArray:
    lowest = graph.operands(operation)[0].format.type.lowest
    index = operands[0].astype(np.int64) - lowest
    row = per_channel(np.arange(len(operation.knots)), index) if len(operation.knots) > 1 else 0
    made: IntegerArray = interpolated(operation, index, row).astype(graph.result(operation).format.type.storage)
    return made


@move.register
def _concat(operation: Concat, operands: Operands, graph: IntegerGraph) -> IntegerArray:
    return np.concatenate(operands, axis=1 + operation.axis)


@move.register
def _reshape(operation: Reshape, operands: Operands, graph: IntegerGraph) -> IntegerArray:
    (x,) = operands
    return x.reshape(len(x), *graph.result(operation).shape)


@move.register
def _transpose(operation: Transpose, operands: Operands, graph: IntegerGraph) -> IntegerArray:
    return operands[0].transpose(0, *(1 + axis for axis in operation.permutation))


@move.register
def _slice(operation: Slice, operands: Operands, graph: IntegerGraph) -> IntegerArray:
    sizes = graph.result(operation).shape
    kept = zip(operation.starts, operation.steps, sizes, strict=True)
    return take(operands[0], [start + step * np.arange(size) for start, step, size in kept])


@move.register
def _pad(operation: Pad, operands: Operands, graph: IntegerGraph) -> IntegerArray:
    rank = len(operation.pads) // 2
    widths = [(0, 0), *zip(operation.pads[:rank], operation.pads[rank:], strict=True)]
    return np.pad(operands[0], widths, constant_values=operation.value)


@move.register
def _resize(operation: Resize, operands: Operands, graph: IntegerGraph) -> IntegerArray:
    return take(operands[0], operation.indices)


def take(x: IntegerArray, indices: Sequence[Sequence[int] | IntegerArray]) -> IntegerArray:
    """For each axis but the batch, the elements at these indices."""
    for axis, wanted in enumerate(indices, start=1):
        x = np.take(x, wanted, axis=axis)
    return x
