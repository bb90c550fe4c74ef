"""The operations that accumulate, as circuits: products with constant matrices by distributed arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from da4ml.cmvm import solve
from da4ml.trace import FixedVariable
from da4ml.types import Pipeline, QInterval

from bitsmith.backends.rtl.clamp import requantize
from bitsmith.backends.rtl.variables import LUTS, Variables, constants
from bitsmith.execution.sums import padded, window_taps
from bitsmith.ir.integer import Add, AveragePool, Conv, IntegerGraph, Linear, MaxPool, Mul

Integers = npt.NDArray[np.int64]


def product(matrix: Integers, vector: Variables) -> Variables:
    """`matrix @ vector` for a constant matrix (out, in): shifts and adds that rows share (da4ml's CMVM solver)."""
    live = [index for index, one in enumerate(vector) if matrix[:, index].any() and one.low != one.high]
    fixed = np.zeros(len(matrix), np.int64)
    for index, one in enumerate(vector):
        if one.low == one.high:
            fixed += matrix[:, index] * int(one.low)
    if not live:
        return constants(fixed)
    kept = vector[live]
    kernel = np.ascontiguousarray(matrix[:, live].T, dtype=np.float32)
    intervals = tuple((float(one.low), float(one.high), float(one.step)) for one in kept)
    # Where in time inputs come, but not when: all of them later is the same problem.
    first = min(float(one.latency) for one in kept)
    solved = _solved(kernel.tobytes(), kernel.shape, intervals, tuple(float(one.latency) - first for one in kept))
    made = np.empty(len(matrix), dtype=object)
    for row, one in enumerate(solved(list(kept))):
        # A row of zeros is a plain number.
        made[row] = (one if isinstance(one, FixedVariable) else FixedVariable.from_const(one, hwconf=LUTS)) + int(
            fixed[row]
        )
    return made


@lru_cache(maxsize=256)
def _solved(
    kernel: bytes,
    shape: tuple[int, int],
    intervals: tuple[tuple[float, float, float], ...],
    latencies: tuple[float, ...],
) -> Pipeline:
    """The adders of a product; windows of a convolution ask for the same ones again and again."""
    matrix = np.frombuffer(kernel, np.float32).reshape(shape).copy()
    return solve(
        matrix,
        qintervals=[QInterval(*one) for one in intervals],
        latencies=list(latencies),
        adder_size=LUTS.adder_size,
        carry_size=LUTS.carry_size,
    )


def linear(operation: Linear, operands: Sequence[Variables], graph: IntegerGraph) -> Variables:
    """A product for each row of the last axis."""
    (x,) = operands
    weight = operation.weight.astype(np.int64)
    offset = _bias(operation, weight, graph)
    rows = [product(weight, row) for row in x.reshape(-1, x.shape[-1])]
    sums = np.array(rows, dtype=object).reshape(*x.shape[:-1], len(weight))
    return requantize(operation, sums, np.broadcast_to(offset, sums.shape), operation.requantize)


def conv(operation: Conv, operands: Sequence[Variables], graph: IntegerGraph) -> Variables:
    """A product for each window and group, of the weights that lie on the input."""
    (x,) = operands
    taps = windows(x.shape, operation)
    weight = operation.weight.astype(np.int64)
    weight = weight.reshape(operation.groups, -1, taps.shape[0] // operation.groups, taps.shape[1])
    bias = operation.bias.astype(np.int64).reshape(operation.groups, -1)
    zero_point = graph.values[operation.inputs[0]].format.zero_point
    shape = graph.result(operation).shape
    sums = np.empty((operation.groups, weight.shape[1], math.prod(shape[1:])), dtype=object)
    offsets = np.empty(sums.shape, dtype=np.int64)
    flat = x.ravel()
    for group, part in enumerate(np.split(taps, operation.groups)):
        for place in range(part.shape[2]):
            under = part[:, :, place].ravel()
            matrix = weight[group].reshape(weight.shape[1], -1)[:, under >= 0]
            sums[group, :, place] = product(matrix, flat[under[under >= 0]])
            offsets[group, :, place] = bias[group] - zero_point * matrix.sum(axis=1)
    return requantize(operation, sums.reshape(shape), offsets.reshape(shape), operation.requantize)


def average_pool(operation: AveragePool, operands: Sequence[Variables], graph: IntegerGraph) -> Variables:
    """A sum for each window and channel."""
    (x,) = operands
    taps = windows(x.shape, operation)
    zero_point = graph.values[operation.inputs[0]].format.zero_point
    shape = graph.result(operation).shape
    sums = np.empty((taps.shape[0], taps.shape[2]), dtype=object)
    offsets = np.empty(sums.shape, dtype=np.int64)
    flat = x.ravel()
    for channel, place in np.ndindex(sums.shape):
        under = taps[channel, :, place]
        under = under[under >= 0]
        sums[channel, place] = product(np.ones((1, len(under)), np.int64), flat[under])[0]
        offsets[channel, place] = -zero_point * len(under)
    return requantize(operation, sums.reshape(shape), offsets.reshape(shape), operation.requantize)


def add(operation: Add, operands: Sequence[Variables], graph: IntegerGraph) -> Variables:
    """Both operands scaled, and summed."""
    a, b = operands
    offset = -sum(
        multiplier * value.format.zero_point
        for multiplier, value in zip(operation.multipliers, graph.operands(operation), strict=True)
    )
    sums = each(lambda one, other: one * operation.multipliers[0] + other * operation.multipliers[1], a, b)
    return requantize(operation, sums, np.full(sums.shape, offset), operation.requantize)


def mul(operation: Mul, operands: Sequence[Variables], graph: IntegerGraph) -> Variables:
    """A product of variables: the one operation that takes a multiplier, unless an operand is constant."""
    (a, b), formats = operands, [value.format for value in graph.operands(operation)]
    products = each(lambda one, other: (one - formats[0].zero_point) * (other - formats[1].zero_point), a, b)
    return requantize(operation, products, np.zeros(products.shape, np.int64), operation.requantize)


def each(function: Callable[[Any, Any], Any], a: Variables, b: Variables) -> Variables:
    """A function of two elements, over operands that broadcast."""
    left, right = np.broadcast_arrays(a, b)
    made = np.empty(left.shape, dtype=object)
    for place in np.ndindex(made.shape):
        made[place] = function(left[place], right[place])
    return made


def windows(shape: Sequence[int], operation: Conv | AveragePool | MaxPool) -> Integers:
    """(channels, taps, windows): where in the flat input each window's elements lie, -1 for padding."""
    kernel = operation.weight.shape[2:] if isinstance(operation, Conv) else operation.kernel
    places = padded(np.arange(math.prod(shape)).reshape(1, *shape), operation.pads, -1)
    under = [
        tap[0].reshape(shape[0], -1) for tap in window_taps(places, kernel, operation.strides, operation.dilations)
    ]
    return np.stack(under, axis=1)


def _bias(operation: Linear, weight: Integers, graph: IntegerGraph) -> Integers:
    zero_point = graph.values[operation.inputs[0]].format.zero_point
    offset: Integers = operation.bias.astype(np.int64) - zero_point * weight.sum(axis=1)
    return offset
