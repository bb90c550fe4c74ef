"""The shape that each operation gives, from the shapes that it reads: of one sample, without the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitsmith.errors import InternalError
from bitsmith.ir.integer import (
    Add,
    AveragePool,
    Concat,
    Conv,
    InterpolatedTable,
    LayerNorm,
    Linear,
    MatMul,
    MaxPool,
    Mul,
    Operation,
    Pad,
    Reshape,
    Resize,
    Shape,
    Slice,
    Softmax,
    Table,
    Transpose,
)


def windows(
    space: Shape, kernel: Shape, strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int]
) -> Shape:
    """How many windows of `kernel` fit along each spatial axis; pads before each axis, then after each."""
    rank = len(space)
    padded = [size + pads[i] + pads[rank + i] for i, size in enumerate(space)]
    reach = [dilations[i] * (size - 1) + 1 for i, size in enumerate(kernel)]
    return tuple((padded[i] - reach[i]) // strides[i] + 1 for i in range(rank))


def output_shape(operation: Operation, operands: Sequence[Shape], declared: Shape) -> Shape:
    """The shape that `operation` makes of operands of these shapes.

    declared: what the graph says of the output; Reshape and Slice take their sizes from it.
    Raises InternalError where the operands do not go together.
    """
    x = operands[0]
    match operation:
        case Conv():
            kernel = operation.weight.shape[2:]
            space = windows(x[1:], kernel, operation.strides, operation.pads, operation.dilations)
            return (operation.weight.shape[0], *space)
        case AveragePool() | MaxPool():
            space = windows(x[1:], operation.kernel, operation.strides, operation.pads, operation.dilations)
            return (x[0], *space)
        case Linear():
            return (*x[:-1], operation.weight.shape[0])
        case Add() | Mul():
            return _broadcast(operation, operands)
        case MatMul():
            return _product(operation, operands)
        case Table() | InterpolatedTable() | Softmax() | LayerNorm():
            return x
        case Concat():
            return _side_by_side(operation, operands)
        case Reshape() | Slice():
            return declared
        case Transpose():
            return tuple(x[axis] for axis in operation.permutation)
        case Pad():
            rank = len(x)
            return tuple(operation.pads[i] + size + operation.pads[rank + i] for i, size in enumerate(x))
        case Resize():
            return tuple(len(indices) for indices in operation.indices)
        case _:
            raise InternalError(f"no rule gives the shape of a {operation.kind}", where=operation.name)


def _broadcast(operation: Operation, operands: Sequence[Shape]) -> Shape:
    try:
        return np.broadcast_shapes(*operands)
    except ValueError:
        shapes = " and ".join(str(list(shape)) for shape in operands)
        raise InternalError(f"operands of shapes {shapes} do not broadcast", where=operation.name) from None


def _product(operation: MatMul, operands: Sequence[Shape]) -> Shape:
    a, b = operands
    if min(len(a), len(b)) < 2 or len(a) != len(b) or a[-1] != b[-2]:
        raise InternalError(f"multiplies {list(a)} by {list(b)}", where=operation.name)
    return (*_broadcast(operation, [a[:-2], b[:-2]]), a[-2], b[-1])


def _side_by_side(operation: Concat, operands: Sequence[Shape]) -> Shape:
    axis = operation.axis
    for shape in operands:
        if len(shape) != len(operands[0]) or not 0 <= axis < len(shape):
            raise InternalError("operands of unlike ranks, or an axis beyond them", where=operation.name)
        if (shape[:axis], shape[axis + 1 :]) != (operands[0][:axis], operands[0][axis + 1 :]):
            raise InternalError(f"operands that differ off axis {axis}", where=operation.name)
    return (*operands[0][:axis], sum(shape[axis] for shape in operands), *operands[0][axis + 1 :])
