"""Make the multipliers of a random integer graph follow from its scales, as those of a compiled graph do."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from bitsmith.backends.onnxruntime.pooling import elements
from bitsmith.ir.dyadic import dyadic
from bitsmith.ir.formats import Format
from bitsmith.ir.integer import (
    Add,
    AveragePool,
    Conv,
    IntegerGraph,
    Linear,
    MatMul,
    Mul,
    Operation,
    Requantize,
    Softmax,
)
from bitsmith.ir.softmax import exponentials
from bitsmith.ir.validate import validate


def rescaled(graph: IntegerGraph) -> IntegerGraph:
    """The same graph with weight scales that its multipliers imply, and multipliers that its scales imply."""
    operations = tuple(_rescaled(graph, operation) for operation in graph)
    same = replace(graph, operations=operations)
    validate(same)
    return same


def _rescaled(graph: IntegerGraph, operation: Operation) -> Operation:
    scales = [value.format.scale[0] for value in graph.operands(operation)]
    output = graph.result(operation).format.scale[0]
    match operation:
        case Conv() | Linear():
            given = operation.requantize.multiplier * 2.0**-operation.requantize.shift
            # Float32 holds neither the largest nor the smallest ratios that a multiplier and a shift can make.
            ratios = np.clip(given.ravel(), 2.0**-40, 2.0**20)
            axis = 0 if ratios.size == len(operation.weight) else None
            scale, grid = tuple(ratios * output / scales[0]), operation.weight_format.grid
            if len(scale) == 1 and grid is not None:
                # Rows and multipliers per channel ask for a scale per channel.
                axis, scale = 0, scale * len(operation.weight)
            weights = Format(operation.weight_format.type, scale, axis=axis, grid=grid)
            ratio = np.array(weights.scale) * scales[0] / output
            shape = given.shape
            if ratio.size != given.size:
                shape = (-1, *[1] * (operation.weight.ndim - 2))
            return replace(operation, weight_format=weights, requantize=_by(operation, ratio.reshape(shape)))
        case Add():
            multipliers, shift = dyadic([scale / output for scale in scales], bits=20)
            signed = tuple(
                int(m) * (1 if old > 0 else -1) for m, old in zip(multipliers, operation.multipliers, strict=True)
            )
            return replace(operation, multipliers=signed, requantize=replace(operation.requantize, shift=shift))
        case Mul():
            return replace(operation, requantize=_by(operation, scales[0] * scales[1] / output))
        case MatMul():
            # Half of what the scales say: as if a factor had been part of the ratio.
            unit = scales[0] if operation.levels is None else 1 / int(operation.levels[0])
            return replace(operation, requantize=_by(operation, 0.5 * unit * scales[1] / output))
        case Softmax():
            (x,) = graph.operands(operation)
            tables = exponentials(scales[0], x.format.type.bits, x.shape[-1])
            rule = operation.requantize
            if isinstance(rule, Requantize):
                rule = _by(operation, 2.0**-30 / output)
            return replace(operation, coarse=tables.coarse, fine=tables.fine, shift=tables.shift, requantize=rule)
        case AveragePool():
            (x,), y = graph.operands(operation), graph.result(operation)
            counts: Any = math.prod(operation.kernel)
            if operation.requantize.multiplier.size > 1:
                counts = np.maximum(elements(operation, x.shape[1:], y.shape[1:]), 1)[None]
            return replace(operation, requantize=_by(operation, scales[0] / output / counts))
        case _:
            return operation


def _by(operation: Any, ratio: Any) -> Any:
    multiplier, shift = dyadic(np.atleast_1d(ratio))
    return replace(operation.requantize, multiplier=multiplier, shift=shift)
