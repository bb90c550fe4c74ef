"""The operations that move, select or look up elements, as circuits: wires, comparisons and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from da4ml.trace import FixedVariable

from bitsmith.backends.rtl.sums import windows
from bitsmith.backends.rtl.variables import Variables, constants
from bitsmith.execution.moves import move
from bitsmith.ir.integer import IntegerGraph, InterpolatedTable, MaxPool, Operation, Pad, Table
from bitsmith.ir.interpolation import written_out


def moved(operation: Operation, operands: Sequence[Variables], graph: IntegerGraph) -> Variables:
    """Wires: what is done to the elements is done to their numbers."""
    flat = np.concatenate([operand.ravel() for operand in operands])
    numbers, start = [], 0
    for operand in operands:
        numbers.append(np.arange(start, start + operand.size).reshape(1, *operand.shape))
        start += operand.size
    if isinstance(operation, Pad):
        flat = np.append(flat, constants(np.array([operation.value])))
        operation = replace(operation, value=len(flat) - 1)
    picked: Variables = flat[move(operation, numbers, graph)[0]]
    return picked


def max_pool(operation: MaxPool, operands: Sequence[Variables], graph: IntegerGraph) -> Variables:
    """The largest of the elements of each window that lie on the input."""
    (x,) = operands
    taps, flat = windows(x.shape, operation), x.ravel()
    made = np.empty((taps.shape[0], taps.shape[2]), dtype=object)
    for channel, place in np.ndindex(made.shape):
        under = taps[channel, :, place]
        made[channel, place] = _largest(list(flat[under[under >= 0]]))
    return made.reshape(graph.result(operation).shape)


def _largest(numbers: list[FixedVariable]) -> FixedVariable:
    """By a tree of comparisons."""
    while len(numbers) > 1:
        pairs = zip(numbers[::2], numbers[1::2], strict=False)
        numbers = [a.max_of(b) for a, b in pairs] + numbers[len(numbers) // 2 * 2 :]
    return numbers[0]


def table(operation: Table, operands: Sequence[Variables], graph: IntegerGraph) -> Variables:
    """A look-up table over the integers that an element can be."""
    (x,) = operands
    lowest = graph.operands(operation)[0].format.type.lowest
    made = np.empty(x.shape, dtype=object)
    for place in np.ndindex(x.shape):
        entries = operation.entries[place[0] if len(operation.entries) > 1 else 0]
        made[place] = _looked_up(x[place], entries, lowest)
    return made


def interpolated_table(operation: InterpolatedTable, operands: Sequence[Variables], graph: IntegerGraph) -> Variables:
    """The same of all that lies on the lines between its knots: a circuit looks up what it can meet, no more."""
    return table(written_out(operation, graph.result(operation).format.type), operands, graph)


def _looked_up(number: FixedVariable, entries: np.ndarray, lowest: int) -> FixedVariable:
    low, high, step = int(number.low), int(number.high), int(number.step)
    seen = entries[low - lowest : high - lowest + 1 : step].astype(np.float64)
    if (seen == seen[0]).all():
        return FixedVariable.from_const(float(seen[0]), hwconf=number.hwconf)
    return number.lookup(seen)
