"""Look-up tables of firmware whose products are all there at once: shifts and adds, which high-level synthesis unrolls.

A product with a constant is a sum of shifted inputs, one for every digit of the constant's canonical signed form. So
where no two products share an adder, and the bias takes one, a layer's sums take

    digits of all weights * (bits of the input + 0.115 * bits of a weight + 0.8)

look-up tables. What an adder takes was fitted to da4ml's figures for 105 random matrices of 4 to 32 outputs, 9 to 144
inputs, weights of 2 to 8 bits and inputs of 2 to 8, all sharing switched off: 2.7 % off on average, 16 % at the most
(in a matrix of 26 tables). `python -m tests.benchmarks.fpga_layers` holds trained layers to yosys. No vendor's tool
was asked: one that puts wide products into DSPs, or finds common terms, takes fewer tables.

A convolution is there once, and its windows take turns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import (
    Add,
    AveragePool,
    Conv,
    IntegerGraph,
    InterpolatedTable,
    Linear,
    MaxPool,
    Mul,
    Operation,
    Table,
    Value,
)

PER_WEIGHT_BIT, PER_ADDER = 0.115, 0.8


def luts(graph: IntegerGraph) -> dict[str, float]:
    """Look-up tables by operation: sums, roundings and clamps, comparisons. Registers and buffers are left out."""
    return {
        operation.name: _sums(operation, graph.operands(operation)) + _elements(operation, graph.result(operation))
        for operation in graph
    }


def adders(weight: IntegerArray) -> int:
    """Of the sums of a layer's outputs, (outputs, ...) weights each, with their biases."""
    size = np.abs(weight.astype(np.int64))
    # A number has a digit wherever it and three times it differ.
    return int(np.bitwise_count(size ^ (3 * size)).sum())


def _sums(operation: Operation, operands: Sequence[Value]) -> float:
    bits = operands[0].format.type.bits
    match operation:
        case Conv() | Linear():
            return adders(operation.weight) * _adder(bits, math.ceil(operation.weight_format.bits))
        case AveragePool():
            return operands[0].shape[0] * math.prod(operation.kernel) * _adder(bits, 1)
        case MaxPool():
            # A comparison, and a choice.
            return operands[0].shape[0] * (math.prod(operation.kernel) - 1) * 2 * bits
        case Add():
            return _parallel(operation, operands[0]) * _adder(max(one.format.type.bits for one in operands), 1)
        case Mul():
            return float(_parallel(operation, operands[0]) * bits * operands[1].format.bits)
        case Table() | InterpolatedTable():
            return float(_parallel(operation, operands[0]) * operands[0].format.bits)
    return 0.0


def _elements(operation: Operation, result: Value) -> float:
    """A rounding and a clamp ask for every bit of a result."""
    if isinstance(operation, Conv | Linear | AveragePool | Add | Mul):
        return float(_parallel(operation, result) * result.format.bits)
    return 0.0


def _adder(bits: int, weight_bits: int) -> float:
    return bits + PER_WEIGHT_BIT * weight_bits + PER_ADDER


def _parallel(operation: Operation, value: Value) -> int:
    """Elements that are computed at once: of an image, those of one place."""
    return math.prod(value.shape) if isinstance(operation, Linear) or len(value.shape) == 1 else value.shape[0]
