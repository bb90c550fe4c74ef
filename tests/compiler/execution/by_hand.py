"""Every operation of an integer graph once more, one element at a time in Python's own integers.

Written from the definitions in `bitsmith.ir.integer` alone, and slow: for small cases only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import singledispatch

import numpy as np

from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import (
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
    Requantize,
    Reshape,
    Resize,
    Shape,
    Slice,
    Softmax,
    Table,
    Thresholds,
    Transpose,
    Value,
)

Index = tuple[int, ...]


def run_by_hand(graph: IntegerGraph, inputs: Mapping[str, IntegerArray]) -> dict[str, IntegerArray]:
    """Every input and every result of a batch, sample by sample and element by element."""
    samples = len(next(iter(inputs.values())))
    parts = [_run_sample(graph, {name: array[i] for name, array in inputs.items()}) for i in range(samples)]
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}


def _run_sample(graph: IntegerGraph, inputs: Mapping[str, IntegerArray]) -> dict[str, IntegerArray]:
    values = {**graph.constants, **inputs}
    for operation in graph:
        result = graph.result(operation)
        operands = [Operand(values[value.name], value) for value in graph.operands(operation)]
        made = [element(operation, operands, index, result.shape) for index in np.ndindex(*result.shape)]
        kind = result.format.type
        assert all(kind.lowest <= integer <= kind.highest for integer in made)
        values[operation.output] = np.array(made, dtype=object).reshape(result.shape).astype(kind.storage)
    return {name: array for name, array in values.items() if name not in graph.constants}


@dataclass(frozen=True)
class Operand:
    """An operand of one sample."""

    array: IntegerArray
    value: Value

    def at(self, *index: int) -> int:
        assert all(0 <= i < size for i, size in zip(index, self.array.shape, strict=True))
        return int(self.array[index])

    def centred(self, *index: int) -> int:
        return self.at(*index) - self.value.format.zero_point


def broadcast(index: Index, shape: Shape) -> Index:
    """Where an element of a broadcast result comes from in an operand of `shape`."""
    offset = len(index) - len(shape)
    return tuple(0 if size == 1 else index[offset + axis] for axis, size in enumerate(shape))


def requantized(accumulator: int, rule: Requantize, index: Index) -> int:
    multiplier = int(rule.multiplier[broadcast(index, rule.multiplier.shape)])
    shifted = (accumulator * multiplier + (1 << (rule.shift - 1))) >> rule.shift
    clamped = min(max(shifted + rule.zero_point, rule.lowest), rule.highest)
    return clamped if rule.caps is None else min(clamped, int(rule.caps[broadcast(index, rule.caps.shape)]))


def under(op: Conv | AveragePool | MaxPool, kernel: Shape, space: Shape, index: Index) -> Iterator[tuple[Index, Index]]:
    """The taps of the window at an output index that are not on padding, each with its place in space."""
    for tap in itertools.product(*map(range, kernel)):
        place = tuple(i * op.strides[a] - op.pads[a] + tap[a] * op.dilations[a] for a, i in enumerate(index[1:]))
        if all(0 <= p < size for p, size in zip(place, space, strict=True)):
            yield tap, place


@singledispatch
def element(op: Operation, operands: list[Operand], index: Index, shape: Shape) -> int:
    """One element of the result of an operation, whose shape is `shape`."""
    raise NotImplementedError(op.kind)


@element.register
def _conv(op: Conv, operands: list[Operand], index: Index, shape: Shape) -> int:
    (x,) = operands
    output, inputs = index[0], op.weight.shape[1]
    first = output // (len(op.weight) // op.groups) * inputs
    total = int(op.bias[output])
    for tap, place in under(op, op.weight.shape[2:], x.array.shape[1:], index):
        for channel in range(inputs):
            total += int(op.weight[(output, channel, *tap)]) * x.centred(first + channel, *place)
    return requantized(total, op.requantize, index)


@element.register
def _linear(op: Linear, operands: list[Operand], index: Index, shape: Shape) -> int:
    (x,) = operands
    *lead, output = index
    products = (int(weight) * x.centred(*lead, k) for k, weight in enumerate(op.weight[output]))
    return requantized(int(op.bias[output]) + sum(products), op.requantize, index)


@element.register
def _add(op: Add, operands: list[Operand], index: Index, shape: Shape) -> int:
    a, b = (operand.centred(*broadcast(index, operand.array.shape)) for operand in operands)
    return requantized(a * op.multipliers[0] + b * op.multipliers[1], op.requantize, index)


@element.register
def _mul(op: Mul, operands: list[Operand], index: Index, shape: Shape) -> int:
    a, b = (operand.centred(*broadcast(index, operand.array.shape)) for operand in operands)
    return requantized(a * b, op.requantize, index)


@element.register
def _matmul(op: MatMul, operands: list[Operand], index: Index, shape: Shape) -> int:
    a, b = operands
    *lead, row, column = index
    left, right = (broadcast(tuple(lead), operand.array.shape[:-2]) for operand in operands)
    inner = range(a.array.shape[-1])

    def factor(k: int) -> int:
        return a.centred(*left, row, k) if op.levels is None else int(op.levels[a.at(*left, row, k)])

    return requantized(sum(factor(k) * b.centred(*right, k, column) for k in inner), op.requantize, index)


@element.register
def _softmax(op: Softmax, operands: list[Operand], index: Index, shape: Shape) -> int:
    (x,) = operands
    row = [x.at(*index[:-1], j) for j in range(shape[-1])]
    distances = [max(row) - one for one in row]
    powers = [int(op.coarse[d // len(op.fine)]) * int(op.fine[d % len(op.fine)]) >> op.shift for d in distances]
    total, places = sum(powers), 0
    while total << places < 1 << 30:
        places += 1
    divisor = total << places
    assert divisor < 1 << 31
    r = 2**29 * 48 // 17 - (divisor * (2**29 * 32 // 17 + 1) >> 31)
    for _ in range(3):
        r += r * (2**60 - divisor * r >> 30) >> 30
    assert 0 <= 2**60 // divisor - r <= 2
    share = (powers[index[-1]] << places) * r >> 30
    if isinstance(op.requantize, Thresholds):
        return sum(share < int(threshold) for threshold in op.requantize.thresholds)
    return requantized(share, op.requantize, index)


@element.register
def _layer_norm(op: LayerNorm, operands: list[Operand], index: Index, shape: Shape) -> int:
    (x,) = operands
    row = [x.centred(*index[:-1], j) * 2**op.finer for j in range(shape[-1])]
    square = len(row) * sum(one * one for one in row) - sum(row) ** 2 + op.epsilon
    places = 0
    while square * 4**places < 1 << 29:
        places += 1
    while int(square // 4**-places if places < 0 else square * 4**places) >= 1 << 31:
        places -= 1
    rooted = square // 4**-places if places < 0 else square * 4**places
    assert 1 << 29 <= rooted < 1 << 31
    r = 1619600000 - (rooted * 925500000 >> 31)
    for _ in range(4):
        r += r * ((1 << 60) - rooted * (r * r >> 30) >> 30) >> 31
    assert abs(r - math.isqrt((1 << 90) // rooted)) <= 3
    normal = (len(row) * row[index[-1]] - sum(row)) * r >> (45 - op.fraction - places)
    assert abs(normal) < 1 << 31
    accumulator = normal * int(op.gain[index[-1]]) + int(op.offset[index[-1]])
    assert abs(accumulator) < 1 << 62
    return requantized(accumulator, op.requantize, index)


@element.register
def _average_pool(op: AveragePool, operands: list[Operand], index: Index, shape: Shape) -> int:
    (x,) = operands
    places = [place for _, place in under(op, op.kernel, x.array.shape[1:], index)]
    return requantized(sum(x.centred(index[0], *place) for place in places), op.requantize, index)


@element.register
def _max_pool(op: MaxPool, operands: list[Operand], index: Index, shape: Shape) -> int:
    (x,) = operands
    return max(x.at(index[0], *place) for _, place in under(op, op.kernel, x.array.shape[1:], index))


@element.register
def _table(op: Table, operands: list[Operand], index: Index, shape: Shape) -> int:
    (x,) = operands
    row = op.entries[index[0] if len(op.entries) > 1 else 0]
    kind = x.value.format.type
    return int(row[list(range(kind.lowest, kind.highest + 1)).index(x.at(*index))])


@element.register
def _interpolated_table(op: InterpolatedTable, operands: list[Operand], index: Index, shape: Shape) -> int:
    (x,) = operands
    segment, within = divmod(x.at(*index) - x.value.format.type.lowest, 2**op.segment_places)
    apart = 2 ** int(op.places[segment])
    knot, offset = divmod(within, apart)
    row = op.knots[index[0] if len(op.knots) > 1 else 0]
    left, right = (int(row[int(op.starts[segment]) + knot + one]) for one in (0, 1))
    # On the line between them, in sixteenths of a step, and to the nearest step: of two, the upper one.
    exact = Fraction(left * (apart - offset) + right * offset, 16 * apart)
    return min(max(math.floor(exact + Fraction(1, 2)), op.lowest), op.highest)


@element.register
def _concat(op: Concat, operands: list[Operand], index: Index, shape: Shape) -> int:
    owners = [(i, place) for i, operand in enumerate(operands) for place in range(operand.array.shape[op.axis])]
    owner, place = owners[index[op.axis]]
    return operands[owner].at(*index[: op.axis], place, *index[op.axis + 1 :])


@element.register
def _reshape(op: Reshape, operands: list[Operand], index: Index, shape: Shape) -> int:
    (x,) = operands
    position = list(np.ndindex(*shape)).index(index)
    return x.at(*list(np.ndindex(*x.array.shape))[position])


@element.register
def _transpose(op: Transpose, operands: list[Operand], index: Index, shape: Shape) -> int:
    (x,) = operands
    return x.at(*(index[op.permutation.index(axis)] for axis in range(len(index))))


@element.register
def _slice(op: Slice, operands: list[Operand], index: Index, shape: Shape) -> int:
    (x,) = operands
    return x.at(*(start + step * i for start, step, i in zip(op.starts, op.steps, index, strict=True)))


@element.register
def _pad(op: Pad, operands: list[Operand], index: Index, shape: Shape) -> int:
    (x,) = operands
    place = [i - op.pads[axis] for axis, i in enumerate(index)]
    inside = all(0 <= p < size for p, size in zip(place, x.array.shape, strict=True))
    return x.at(*place) if inside else op.value


@element.register
def _resize(op: Resize, operands: list[Operand], index: Index, shape: Shape) -> int:
    (x,) = operands
    return x.at(*(op.indices[axis][i] for axis, i in enumerate(index)))
