"""An integer graph as one combinational circuit: every operation traced through da4ml's symbolic arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence, Set
from decimal import Context, localcontext
from typing import Any

import numpy as np
from da4ml.trace import comb_trace
from da4ml.types import CombLogic, Op, Pipeline

from bitsmith.backends.rtl import moves, sums
from bitsmith.backends.rtl.constants import INPUT, MUX, aligned
from bitsmith.backends.rtl.variables import Variables, constants, inputs
from bitsmith.ir.integer import (
    Add,
    AveragePool,
    Concat,
    Conv,
    IntegerGraph,
    InterpolatedTable,
    Linear,
    MaxPool,
    Mul,
    Operation,
    Pad,
    Reshape,
    Resize,
    Slice,
    Table,
    Transpose,
)

EXACT_DIGITS = 400
"""da4ml keeps powers of two as decimal numbers, whose 28 digits by default are too few below 2^-40."""

Trace = Callable[[Any, Sequence[Variables], IntegerGraph], Variables]

TRACES: dict[type[Operation], Trace] = {
    Add: sums.add,
    AveragePool: sums.average_pool,
    Concat: moves.moved,
    Conv: sums.conv,
    Linear: sums.linear,
    MaxPool: moves.max_pool,
    Mul: sums.mul,
    Pad: moves.moved,
    Reshape: moves.moved,
    Resize: moves.moved,
    Slice: moves.moved,
    InterpolatedTable: moves.interpolated_table,
    Table: moves.table,
    Transpose: moves.moved,
}


def circuit(graph: IntegerGraph, wanted: Iterable[str] | None = None) -> CombLogic:
    """The circuit of a graph: all elements of its inputs in, all elements of `wanted` out, each flat and in order.

    wanted: names of values; by default the outputs.
    """
    with localcontext(Context(prec=EXACT_DIGITS)):
        found = _traced(graph, graph.outputs if wanted is None else wanted)
    return aligned(Pipeline((found,))).solutions[0]


def luts(graph: IntegerGraph) -> dict[str, float]:
    """da4ml's estimate of look-up tables by operation; what two operations share counts for the first.

    What no output reads is left out, as it is from the circuit.
    """
    made = [operation.output for operation in graph]
    everything = circuit(graph, [*graph.outputs, *made])
    ends = iter(everything.out_idxs)
    wanted = {
        index
        for name in graph.outputs
        for index in _below(everything.ops, [next(ends) for _ in range(math.prod(graph.values[name].shape))], set())
    }
    found, counted = {}, set[int]()
    for operation in graph:
        places = [next(ends) for _ in range(math.prod(graph.result(operation).shape))]
        new = _below(everything.ops, places, counted)
        counted |= new
        found[operation.name] = sum(everything.ops[index].cost for index in new & wanted)
    return found


def _below(ops: Sequence[Op], places: Iterable[int], known: Set[int]) -> set[int]:
    """What is computed for these, without what is known."""
    found: set[int] = set()
    left = [place for place in places if place >= 0]
    while left:
        place = left.pop()
        if place in found or place in known:
            continue
        found.add(place)
        op = ops[place]
        if op.opcode == INPUT:
            continue
        left += [operand for operand in (op.id0, op.id1) if operand >= 0]
        if abs(op.opcode) == MUX:
            left.append(op.data & 0xFFFFFFFF)
    return found


def _traced(graph: IntegerGraph, wanted: Iterable[str]) -> CombLogic:
    values: dict[str, Variables] = {name: inputs(graph.values[name]) for name in graph.inputs}
    given = [values[name].ravel() for name in graph.inputs]
    values |= {name: constants(array) for name, array in graph.constants.items()}
    for operation in graph:
        operands = [values[name] for name in operation.inputs]
        values[operation.output] = TRACES[type(operation)](operation, operands, graph)
    taken = [values[name].ravel() for name in wanted]
    return comb_trace(np.concatenate(given), np.concatenate(taken), keep_dead_inputs=True)
