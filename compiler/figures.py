"""Figures of an integer graph: multiply-accumulates and bytes, by layer and in all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bitsmith.ir.bounds import Bounds
from bitsmith.ir.formats import packed_bytes
from bitsmith.ir.grids import Codebook, Grid, Grouped
from bitsmith.ir.integer import (
    Add,
    AveragePool,
    Conv,
    IntegerGraph,
    InterpolatedTable,
    LayerNorm,
    Linear,
    MatMul,
    Mul,
    Operation,
    Requantize,
    Softmax,
    Table,
    Thresholds,
)


@dataclass(frozen=True)
class Layer:
    """One operation in figures.

    macs:             multiply-accumulates of one sample; 0 for what does not multiply by weights or two values.
    weight_bits:      of each weight, None where there are none.
    weight_bytes:     of its weights, packed: 4-bit weights take half a byte, ternary ones a fifth.
    parameter_bytes:  of all its constants: weights and what they are looked up in, int32 biases, int32 multipliers,
                      table entries.
    accumulator:      the static bound of its accumulator's magnitude, None where there is none.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    output: str
    macs: int
    weight_bits: float | None
    weight_bytes: int
    parameter_bytes: int
    accumulator: int | None

    @property
    def accumulator_bits(self) -> int | None:
        """Bits of the smallest two's complement integer that holds the accumulator."""
        return None if self.accumulator is None else self.accumulator.bit_length() + 1

    def to_json(self) -> dict[str, Any]:
        """All of it, under the names of the fields."""
        return {
            "name": self.name,
            "kind": self.kind,
            "inputs": list(self.inputs),
            "output": self.output,
            "macs": self.macs,
            "weight_bits": self.weight_bits,
            "weight_bytes": self.weight_bytes,
            "parameter_bytes": self.parameter_bytes,
            "accumulator_bound": self.accumulator,
            "accumulator_bits": self.accumulator_bits,
        }


def layers(graph: IntegerGraph, bounds: Bounds) -> list[Layer]:
    """Every operation of the graph in figures, in its order."""
    return [
        Layer(
            operation.name,
            operation.kind,
            operation.inputs,
            operation.output,
            macs(graph, operation),
            operation.weight_format.bits if isinstance(operation, Conv | Linear) else None,
            weight_bytes(operation),
            weight_bytes(operation) + other_bytes(operation),
            bounds.accumulators.get(operation.name),
        )
        for operation in graph
    ]


def macs(graph: IntegerGraph, operation: Operation) -> int:
    """Multiply-accumulates for one sample: elements made times the weights, or the products of values, in each."""
    if isinstance(operation, MatMul):
        return math.prod(graph.result(operation).shape) * graph.operands(operation)[0].shape[-1]
    if not isinstance(operation, Conv | Linear):
        return 0
    return math.prod(graph.result(operation).shape) * math.prod(operation.weight.shape[1:])


def weight_bytes(operation: Operation) -> int:
    """Bytes of the weights, packed."""
    if not isinstance(operation, Conv | Linear):
        return 0
    return packed_bytes(operation.weight.size, operation.weight_format.bits)


def grid_bytes(grid: Grid | None) -> int:
    """Bytes of what a kernel looks weights up in: levels of a codebook's rows, and a byte a group's multiplier.

    Rows of neighbouring integers need no levels: a bit a channel says where they start. Nor does a grid that is known
    by its name alone.
    """
    match grid:
        case Grouped():
            return len(grid.multipliers) * len(grid.multipliers[0])
        case Codebook(kind="offset"):
            return math.ceil(len(grid.rows) / 8)
        case Codebook(kind="k-means"):
            return sum(map(len, grid.rows))
        case _:
            return 0


def requantize_bytes(rule: Requantize | Thresholds) -> int:
    """Bytes of a requantize step's vectors: multipliers and thresholds of 32 bits, caps of 8."""
    if isinstance(rule, Thresholds):
        return 4 * rule.thresholds.size
    return 4 * rule.multiplier.size + (0 if rule.caps is None else rule.caps.size)


def other_bytes(operation: Operation) -> int:
    """Bytes of the constants that are no weights: biases and multipliers in 32 bits, tables as they are."""
    match operation:
        case Conv() | Linear():
            grid = grid_bytes(operation.weight_format.grid)
            return grid + 4 * operation.bias.size + requantize_bytes(operation.requantize)
        case Add():
            caps = operation.requantize.caps
            return 4 * len(operation.multipliers) + (0 if caps is None else caps.size)
        case Mul() | AveragePool():
            return requantize_bytes(operation.requantize)
        case MatMul():
            levels = 0 if operation.levels is None else 2 * operation.levels.size
            return levels + requantize_bytes(operation.requantize)
        case Softmax():
            return 4 * (operation.coarse.size + operation.fine.size) + requantize_bytes(operation.requantize)
        case LayerNorm():
            return 4 * operation.gain.size + 8 * operation.offset.size
        case Table():
            return operation.entries.nbytes
        case InterpolatedTable():
            return operation.nbytes
        case _:
            return 0
