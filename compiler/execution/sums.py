"""The operations that accumulate, in numpy: operands less their zero points in, accumulator out.

Arrays are batched, (samples, *shape), and hold integers, as a rule in a floating point type: one that the
caller has proved to be exact for every partial sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import singledispatch
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError
from bitsmith.ir.blocks import blocks
from bitsmith.ir.integer import Add, AveragePool, Conv, LayerNorm, Linear, MatMul, Mul, Operation, Softmax
from bitsmith.ir.layer_norm import reciprocal_root
from bitsmith.ir.shapes import windows
from bitsmith.ir.softmax import reciprocal

Array = npt.NDArray[Any]

COLUMN_ELEMENTS = 1 << 19
WEIGHT_ELEMENTS = 1 << 20


@singledispatch
def accumulate(operation: Operation, operands: Sequence[Array]) -> Array:
    """The accumulator of `operation`: (samples, *shape of its result), of the operands' type."""
    raise InternalError(f"the interpreter cannot accumulate for a {operation.kind}", where=operation.name)


@accumulate.register
def _conv(operation: Conv, operands: Sequence[Array]) -> Array:
    x = padded(operands[0], operation.pads, 0)
    weight = operation.weight.astype(x.dtype)
    is_depthwise = operation.groups > 1 and weight.shape[1] == 1
    accumulator = (depthwise if is_depthwise else unfolded)(operation, x, weight)
    accumulator += per_channel(operation.bias.astype(x.dtype), accumulator)
    return accumulator


def unfolded(operation: Conv, x: Array, weight: Array) -> Array:
    """One matrix product per group: weights by the columns that the windows of some samples unfold to.

    Columns take as many times the memory of the input as the kernel has taps, so they are made for a few
    samples at a time; yet not for one, since BLAS wakes its threads once a product.
    """
    taps = list(window_taps(x, weight.shape[2:], operation.strides, operation.dilations))
    samples, channels, *space = taps[0].shape
    rows = weight.reshape(operation.groups, len(weight) // operation.groups, -1)
    accumulator = np.empty((samples, len(weight), *space), x.dtype)
    at_once = max(1, COLUMN_ELEMENTS // (channels * len(taps) * math.prod(space)))
    for start in range(0, samples, at_once):
        part = accumulator[start : start + at_once]
        columns = np.empty((channels, len(taps), len(part), *space), x.dtype)
        for tap, under in enumerate(taps):
            columns[:, tap] = under[start : start + at_once].swapaxes(0, 1)
        products = np.matmul(rows, columns.reshape(operation.groups, rows.shape[2], -1))
        part[:] = products.reshape(len(weight), len(part), *space).swapaxes(0, 1)
    return accumulator


def depthwise(operation: Conv, x: Array, weight: Array) -> Array:
    """One input channel per group: each tap scales what the windows have under it."""
    x = np.repeat(x, len(weight) // operation.groups, axis=1)
    taps = window_taps(x, weight.shape[2:], operation.strides, operation.dilations)
    scales = weight.reshape(len(weight), -1).T
    return sum_of(under * per_channel(scale, under) for under, scale in zip(taps, scales, strict=True))


@accumulate.register
def _linear(operation: Linear, operands: Sequence[Array]) -> Array:
    (x,) = operands
    weight = operation.weight
    accumulator: Array = np.empty((*x.shape[:-1], len(weight)), x.dtype)
    for part in blocks(len(weight), weight.size, WEIGHT_ELEMENTS):
        np.matmul(x, weight[part].T.astype(x.dtype), out=accumulator[..., part])
    accumulator += operation.bias.astype(x.dtype)
    return accumulator


@accumulate.register
def _add(operation: Add, operands: Sequence[Array]) -> Array:
    a, b = operands
    accumulator: Array = np.add(a * a.dtype.type(operation.multipliers[0]), b * b.dtype.type(operation.multipliers[1]))
    return accumulator


@accumulate.register
def _mul(operation: Mul, operands: Sequence[Array]) -> Array:
    a, b = operands
    return np.multiply(a, b)


@accumulate.register
def _matmul(operation: MatMul, operands: Sequence[Array]) -> Array:
    a, b = operands
    if operation.levels is not None:
        a = operation.levels[a.astype(np.int64)].astype(b.dtype)
    accumulator: Array = np.matmul(a, b)
    return accumulator


@accumulate.register
def _softmax(operation: Softmax, operands: Sequence[Array]) -> Array:
    x = operands[0].astype(np.int64)
    distances = x.max(axis=-1, keepdims=True) - x
    width = len(operation.fine)
    powers = (operation.coarse[distances // width] * operation.fine[distances % width]) >> operation.shift
    sums = powers.sum(axis=-1, keepdims=True)
    # frexp gives the bits of a number: float64 holds every sum below 2^31.
    places = 31 - np.frexp(sums.astype(np.float64))[1].astype(np.int64)
    accumulator: Array = ((powers << places) * reciprocal(sums << places)) >> 30
    return accumulator


@accumulate.register
def _layer_norm(operation: LayerNorm, operands: Sequence[Array]) -> Array:
    x = operands[0].astype(np.int64)
    count, sums = x.shape[-1], x.sum(axis=-1, keepdims=True)
    square = count * np.square(x).sum(axis=-1, keepdims=True) - np.square(sums)
    square = (square << 2 * operation.finer) + operation.epsilon
    places = np.zeros_like(square)
    for step in (16, 8, 4, 2, 1):
        is_large = square >= 1 << (29 + 2 * step)
        places -= step * is_large
        square >>= 2 * step * is_large
    for step in (8, 4, 2, 1):
        is_small = square < 1 << (31 - 2 * step)
        places += step * is_small
        square <<= 2 * step * is_small
    distances = (count * x - sums) << operation.finer
    normal = (distances * reciprocal_root(square)) >> (45 - operation.fraction - places)
    accumulator: Array = normal * operation.gain + operation.offset
    return accumulator


@accumulate.register
def _average_pool(operation: AveragePool, operands: Sequence[Array]) -> Array:
    x = padded(operands[0], operation.pads, 0)
    return sum_of(window_taps(x, operation.kernel, operation.strides, operation.dilations))


def padded(x: Array, pads: Sequence[int], value: int) -> Array:
    """(samples, channels, *space) with `value` around the space: pads before each axis, then after each."""
    if not any(pads):
        return x
    rank = len(pads) // 2
    widths = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
    return np.pad(x, widths, constant_values=value)


def window_taps(x: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Iterator[Array]:
    """For each tap of the kernel, in row-major order, the elements that the windows have under it.

    x: (samples, channels, *space), padding included. Yields views: (samples, channels, *output space).
    """
    axes = range(len(kernel))
    count = windows(x.shape[2:], tuple(kernel), strides, (0,) * 2 * len(kernel), dilations)
    for tap in product(*map(range, kernel)):
        first = [tap[axis] * dilations[axis] for axis in axes]
        under = (slice(first[a], first[a] + strides[a] * count[a], strides[a]) for a in axes)
        yield x[(slice(None), slice(None), *under)]


def per_channel(vector: Array, like: Array) -> Array:
    """One number a channel, shaped to broadcast against `like`: (samples, channels, *space)."""
    return vector.reshape(-1, *(1,) * (like.ndim - 2))


def sum_of(terms: Iterable[Array]) -> Array:
    """The sum of one or more arrays of one shape, in memory of its own."""
    remaining = iter(terms)
    total = next(remaining).copy()
    for term in remaining:
        total += term
    return total
