"""A model that others quantized, run as it is, beside the integer graph that was made of it, operation by operation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from bitsmith.errors import VerificationError
from bitsmith.execution.batches import Batch, batch_size
from bitsmith.execution.interpreter import centred, requantize, run
from bitsmith.execution.moves import move
from bitsmith.execution.reals import quantize_inputs
from bitsmith.execution.runtime import Session
from bitsmith.execution.sums import accumulate
from bitsmith.execution.threads import one_blas_thread
from bitsmith.importing.quantized.executable import executable
from bitsmith.ir.bounds import bounds
from bitsmith.ir.formats import Format, IntegerArray, IntegerType
from bitsmith.ir.integer import (
    Add,
    AveragePool,
    Conv,
    IntegerGraph,
    InterpolatedTable,
    LayerNorm,
    Linear,
    Mul,
    Operation,
    Requantize,
    Softmax,
    Table,
)
from bitsmith.ir.quantizers import Adopted, Quantizer, Quantizers

Array = npt.NDArray[Any]

ROUNDED_ONCE = (Add, AveragePool, Conv, Linear, Mul)
"""Operations whose exact result is known to a fraction of a step, from their accumulator."""

NEAR = 2.0**-8
"""How near to the middle between two integers an exact result must be, in steps, for the file to round it the other
way: it rounds half to even, and computes in float32, which for 8-bit results strays by less than a thousandth."""

FLOAT32 = 2.0**-20
"""The same as a part of all steps of a format, which for wide formats is more."""


@dataclass
class Tally:
    """Of one value: its elements, how many differ from the file's, by how many steps, and how many without reason."""

    elements: int = 0
    differing: int = 0
    largest: int = 0
    unexplained: int = 0

    def add(self, steps: Array, explained: Array | None = None) -> None:
        """steps: the size of each element's difference, 0 or more."""
        self.elements += steps.size
        self.differing += int(np.count_nonzero(steps))
        self.largest = max(self.largest, int(steps.max(initial=0)))
        if explained is not None:
            self.unexplained += int(np.count_nonzero((steps > 0) & ~explained))

    def to_json(self) -> dict[str, int]:
        """As plain data."""
        return {"elements": self.elements, "differing": self.differing, "largest": self.largest}


@dataclass(frozen=True)
class Fidelity:
    """What came of it on `samples` samples.

    operations: by the value an operation makes of the very integers that the file has there.
    outputs:    by name, after all operations, so that a step of one may have grown in those behind it.
    inputs:     by name, as both round the same reals: where samples lie half-way between steps, as pixels may that
                were scaled by the very range, every other one is rounded the other way.
    """

    dialect: str
    samples: int
    operations: Mapping[str, Tally] = field(default_factory=dict)
    outputs: Mapping[str, Tally] = field(default_factory=dict)
    inputs: Mapping[str, Tally] = field(default_factory=dict)

    def require(self) -> None:
        """Raise VerificationError for the first operation that differs for another reason than rounding."""
        for name, tally in self.operations.items():
            if tally.unexplained:
                raise VerificationError(
                    f"{tally.unexplained:,} of {tally.elements:,} elements differ from the original for another reason "
                    f"than rounding, by up to {tally.largest} steps, so nothing is written",
                    where=name,
                    fix="Report this model.",
                )

    def to_json(self) -> dict[str, Any]:
        """As plain data: of operations, those that differ at all."""
        return {
            "dialect": self.dialect,
            "samples": self.samples,
            "operations_compared": len(self.operations),
            "elements": sum(one.elements for one in self.operations.values()),
            "differing": sum(one.differing for one in self.operations.values()),
            "largest": max((one.largest for one in self.operations.values()), default=0),
            "outputs": {name: one.to_json() for name, one in self.outputs.items()},
            "inputs": {name: one.to_json() for name, one in self.inputs.items()},
        }


def compare(
    original: onnx.ModelProto,
    quantizers: Quantizers,
    adopted: Adopted,
    graph: IntegerGraph,
    reals: Mapping[str, Array],
) -> Fidelity:
    """Run both on the same samples, and each operation on the integers that the file has in its place.

    An operation may differ by one step where its exact result is nearly half-way between two integers (see NEAR; where
    a bias had to be rounded to whole steps of its accumulator, half such a step is added, and where an operand of a sum
    is in float in the file, half a step of the 16 bits that it has here), and where it is a table or a softmax or a
    layer normalisation by one step anywhere. Whatever only moves elements may not differ at all.
    reals: by input, (samples, ...) float32, as the float model takes them.
    """
    operations: dict[str, Tally] = {}
    outputs: dict[str, Tally] = {name: Tally() for name in graph.outputs}
    inputs: dict[str, Tally] = {name: Tally() for name in graph.inputs}
    file = _Original(original, adopted, graph)
    accumulators = bounds(graph).accumulators
    for batch in _in_batches(reals, file.batch or batch_size(graph)):
        held = file.integers(batch)
        for name, array in quantize_inputs(graph, batch).items():
            inputs[name].add(_steps(array, held[name]))
        known = {name: _certain(array) for name, array in graph.constants.items()}
        known |= {name: _certain(held[name]) for name in graph.inputs}
        for name, array in run(graph, {name: held[name] for name in graph.inputs}).items():
            if name in held:
                outputs[name].add(_steps(array, held[name]))
        for operation in graph:
            operands = [known[name] for name in operation.inputs]
            made = _alone(operation, operands, graph, accumulators.get(operation.name), adopted)
            wanted = held.get(operation.output)
            off = made.off if operation.output in adopted.derived else 0.0
            known[operation.output] = replace(made if wanted is None else _certain(wanted), off=off)
            if wanted is not None:
                explained = (made.lowest <= wanted) & (wanted <= made.highest)
                operations.setdefault(operation.output, Tally()).add(_steps(made.integers, wanted), explained)
    return Fidelity(quantizers.dialect, len(next(iter(reals.values()))), operations, outputs, inputs)


class _Original:
    """The file in ONNX Runtime, its quantizers computed as they are written, every value that has integers kept."""

    def __init__(self, original: onnx.ModelProto, adopted: Adopted, graph: IntegerGraph) -> None:
        self._graph = graph
        self._inputs = {value.name: value for value in original.graph.input}
        host = {step.output for step in graph.host}
        makers = {name for node in original.graph.node for name in node.output}
        self._taps = {
            name: one for name, one in adopted.quantizers.items() if one.tensor in makers and name in graph.values
        }
        # An output without a tap is the file's own output, in reals or integers.
        self._outputs = {
            name: value.name
            for name, value in zip(graph.outputs, original.graph.output, strict=True)
            if name not in self._taps and name not in host
        }
        wanted = dict.fromkeys([*(one.tensor for one in self._taps.values()), *self._outputs.values()])
        self._session = Session(executable(original), list(wanted), as_written=True)
        sizes = [value.type.tensor_type.shape.dim[0] for value in original.graph.input if _has_batch(value)]
        self.batch = next((size.dim_value for size in sizes if size.dim_value > 0), None)

    def integers(self, batch: Mapping[str, Array]) -> Batch:
        """By integer value, what the file has there, for a batch of reals."""
        samples = len(next(iter(batch.values())))
        feeds = {name: self._fed(name, array) for name, array in batch.items()}
        if self.batch is not None and samples < self.batch:
            missing = self.batch - samples
            feeds = {name: np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) for name, a in feeds.items()}
        found = {name: array[:samples] for name, array in self._session.run(feeds).items()}
        values = self._graph.values
        held = {name: _integers(found[one.tensor], one, values[name].format) for name, one in self._taps.items()}
        for name, output in self._outputs.items():
            held[name] = _on_grid(found[output], values[name].format)
        for name in self._graph.inputs:
            if name not in held:
                held[name] = values[name].format.quantize(batch[name])
        return {name: array for name, array in held.items() if name in values}

    def _fed(self, name: str, reals: Array) -> Array:
        kind = onnx.helper.tensor_dtype_to_np_dtype(self._inputs[name].type.tensor_type.elem_type)
        if kind.kind == "f":
            return reals.astype(np.float32)
        format = self._graph.values[name].format
        offset = 0 if kind.kind == "i" else 1 << (format.type.bits - 1)
        moved: Array = (format.quantize(reals).astype(np.int64) + (offset if format.type.signed else 0)).astype(kind)
        return moved


def _has_batch(value: onnx.ValueInfoProto) -> bool:
    return len(value.type.tensor_type.shape.dim) > 0


def _integers(found: Array, quantizer: Quantizer, format: Format) -> IntegerArray:
    """What the file holds at a quantizer, as integers of our format, which may count from another zero point."""
    if not quantizer.holds_integers:
        return _on_grid(found, format)
    moved = found.astype(np.int64) - quantizer.format.zero_point + format.zero_point
    integers: IntegerArray = moved.astype(format.type.storage)
    return integers


def _on_grid(reals: Array, format: Format) -> IntegerArray:
    """Reals, as a rule on the grid already, as its integers."""
    if reals.dtype.kind in "iu":
        reals = reals.astype(np.float64)
    return format.quantize(reals)


@dataclass(frozen=True)
class _Made:
    """What an operation makes, and the integers that lie between it and what else rounding may make of the same.

    off: how many steps the file's own value may be off, if it is not rounded there.
    """

    integers: IntegerArray
    lowest: Array
    highest: Array
    off: float = 0.0


def _alone(
    operation: Operation, operands: list[_Made], graph: IntegerGraph, bound: int | None, adopted: Adopted
) -> _Made:
    """One operation on its operands, of which those that the file does not have may have been rounded otherwise."""
    arrays = [operand.integers for operand in operands]
    kind = graph.result(operation).format.type
    if bound is None:
        made = move(operation, arrays, graph)
        if isinstance(operation, Table):
            return _within_a_step(made, kind)
        if isinstance(operation, InterpolatedTable):
            # A step of the function's own rounding, and one of what lies between knots.
            return _within_steps(2, made, kind)
        # Moves are monotone: they take the ends of what is possible to the ends of what becomes of it.
        ends = [[getattr(one, end).astype(one.integers.dtype) for one in operands] for end in ("lowest", "highest")]
        lowest, highest = (move(operation, end, graph) for end in ends)
        return _Made(made, lowest, highest)
    with one_blas_thread():
        accumulator = accumulate(operation, centred(operation, arrays, graph, bound))
    made = requantize(accumulator, operation, graph)
    wide = made.astype(np.int64)
    if not isinstance(operation, ROUNDED_ONCE):
        return _within_a_step(made, kind) if isinstance(operation, Softmax | LayerNorm) else _certain(made)
    rule: Requantize = operation.requantize
    ratio = np.ldexp(rule.multiplier.astype(np.float64), -rule.shift)
    exact = accumulator.astype(np.float64) * ratio
    near: npt.NDArray[np.float64] = np.array(max(NEAR, 2.0**kind.bits * FLOAT32))
    if operation.name in adopted.rounded:
        along = [1] * (made.ndim - 2) if isinstance(operation, Conv) else []
        near = near + ratio * adopted.rounded[operation.name].reshape(-1, *along)
    if isinstance(operation, Add):
        factors = zip(operation.multipliers, operands, strict=True)
        near = near + ratio * sum(abs(factor) * operand.off for factor, operand in factors)
    below = np.floor(exact)
    is_near = np.abs(exact - below - 0.5) <= near
    ends = [np.clip(below + offset + rule.zero_point, rule.lowest, rule.highest) for offset in (0, 1)]
    # The clamp itself was rounded to the grid, and may be half-way between two of its steps.
    is_end = ((wide == rule.lowest) | (wide == rule.highest)).astype(np.int64)
    lowest, highest = (np.where(is_near, end, wide).astype(np.int64) for end in ends)
    lowest, highest = np.minimum(lowest, wide - is_end), np.maximum(highest, wide + is_end)
    lowest, highest = np.maximum(lowest, kind.lowest), np.minimum(highest, kind.highest)
    return _Made(made, lowest, highest, off=0.5 + float(near.max()))


def _within_a_step(array: IntegerArray, kind: IntegerType) -> _Made:
    return _within_steps(1, array, kind)


def _within_steps(steps: int, array: IntegerArray, kind: IntegerType) -> _Made:
    wide = array.astype(np.int64)
    return _Made(array, np.maximum(wide - steps, kind.lowest), np.minimum(wide + steps, kind.highest))


def _certain(array: IntegerArray) -> _Made:
    return _Made(array, array, array)


def _steps(made: IntegerArray, wanted: IntegerArray) -> Array:
    difference: Array = np.abs(made.astype(np.int64) - wanted.astype(np.int64))
    return difference


def _in_batches(reals: Mapping[str, Array], size: int) -> Iterator[dict[str, Array]]:
    samples = len(next(iter(reals.values())))
    for start in range(0, samples, size):
        yield {name: array[start : start + size] for name, array in reals.items()}
