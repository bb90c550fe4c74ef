"""The integer graph executed in numpy: the reference that every artifact is held to.

Each operation is one small function: those that accumulate are in `sums`, and `requantize` makes integers of
their accumulators; those that move or select elements are in `moves`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bitsmith.execution.batches import Batch, batch_size, checked_inputs, in_batches
from bitsmith.execution.moves import move
from bitsmith.execution.sums import Array, accumulate
from bitsmith.execution.threads import one_blas_thread
from bitsmith.ir.bounds import bounds
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import IntegerGraph, Operation, Requantize, Thresholds, requantized

EXACT: tuple[tuple[type[np.float32 | np.float64 | np.int64], int], ...] = (
    (np.float32, 1 << 24),
    (np.float64, 1 << 53),
    (np.int64, 1 << 62),
)
"""Types to accumulate in, each with a magnitude up to which it holds every integer."""


def run(graph: IntegerGraph, inputs: Mapping[str, IntegerArray], keep: bool = False) -> Batch:
    """Execute the graph on a batch.

    inputs: by name, (samples, *shape) integers of the value's storage type.
    Returns the outputs by name, or with `keep` every input and every result, in the graph's order.
    Raises DataError for inputs that do not fit, UnsupportedError for an accumulator that can overflow.
    """
    accumulators = bounds(graph).accumulators
    values: dict[str, IntegerArray] = {**graph.constants, **checked_inputs(graph, inputs)}
    last_reader = {name: operation for operation in graph for name in operation.inputs}
    for operation in graph:
        operands = [values[name] for name in operation.inputs]
        bound = accumulators.get(operation.name)
        if bound is not None:
            with one_blas_thread():
                accumulator = accumulate(operation, centred(operation, operands, graph, bound))
            values[operation.output] = requantize(accumulator, operation, graph)
        else:
            values[operation.output] = move(operation, operands, graph)
        for name in operation.inputs:
            if last_reader[name] is operation and name not in graph.outputs and not keep:
                values.pop(name, None)
    wanted = [*graph.inputs, *(operation.output for operation in graph)] if keep else graph.outputs
    return {name: values[name] for name in wanted}


def run_batched(graph: IntegerGraph, inputs: Mapping[str, IntegerArray], batch: int | None = None) -> Batch:
    """As `run`, in batches (see `batch_size`), which bounds the memory that the values in between take."""
    parts = [run(graph, part) for part in in_batches(inputs, batch or batch_size(graph))]
    return {name: np.concatenate([part[name] for part in parts]) for name in graph.outputs}


def centred(operation: Operation, operands: list[IntegerArray], graph: IntegerGraph, bound: int) -> list[Array]:
    """The operands less their zero points, in the fastest type that is exact for this operation.

    Sums run in floating point because BLAS is fast there. They lose nothing: every term and every partial sum
    is an integer no larger than `bound`, and float32 holds each integer up to 2^24, float64 up to 2^53.
    """
    exact = next(kind for kind, largest in EXACT if bound < largest)
    return [
        np.subtract(array, exact(value.format.zero_point), dtype=exact)
        for array, value in zip(operands, graph.operands(operation), strict=True)
    ]


def requantize(accumulator: Array, operation: Operation, graph: IntegerGraph) -> IntegerArray:
    """`min(clamp(((acc * multiplier + 2^(shift-1)) >> shift) + zero_point), caps)`, in 64 bits; in storage type.

    |acc| < 2^31 and multiplier < 2^31, or |acc| < 2^62 and multiplier = 1 (Add, LayerNorm): the product stays below
    2^62, and with the half added below 2^63.
    """
    rule: Requantize | Thresholds = operation.requantize  # type: ignore[attr-defined]
    if isinstance(rule, Thresholds):
        # searchsorted counts those at or below, of numbers that rise.
        at_most = np.searchsorted(rule.thresholds[::-1], accumulator, side="right")
        return (rule.thresholds.size - at_most).astype(graph.result(operation).format.type.storage)
    return requantized(rule, accumulator).astype(graph.result(operation).format.type.storage)
