"""The rules of an integer graph: what every operation may assume, checked once.

`IntegerGraph` itself checks that its operations are in order and its names are made once. `validate` checks
the rest: shapes, types, formats and constants. Each rule is a generator that yields what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import singledispatch

import numpy as np

from bitsmith.errors import InternalError
from bitsmith.ir.bounds import INT32_MAGNITUDE
from bitsmith.ir.formats import Format, IntegerArray, IntegerType
from bitsmith.ir.grids import Codebook, Grid
from bitsmith.ir.integer import (
    KNOT_MAGNITUDE,
    WIDEST_SEGMENT,
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
from bitsmith.ir.layer_norm import FINEST, MOST_FRACTION, reach
from bitsmith.ir.shapes import output_shape

Problems = Iterator[str]

OPERANDS = {Add: 2, Mul: 2, MatMul: 2}
BROADCASTING = (Add, Mul)
# Elements pass through these unchanged, so the integers must mean the same before and after.
KEEPS_FORMAT = (MaxPool, Concat, Reshape, Transpose, Slice, Pad, Resize)
LARGEST_TABLE_BITS = 16


def validate(graph: IntegerGraph) -> None:
    """Raise InternalError, naming the operation, at the first rule that the graph breaks."""
    for problem in _graph(graph):
        raise InternalError(problem, where=graph.name)
    for operation in graph:
        for problem in _operation(graph, operation):
            raise InternalError(problem, where=f"{operation.kind} {operation.name}")


def _graph(graph: IntegerGraph) -> Problems:
    made = {operation.output for operation in graph}
    names = [operation.name for operation in graph]
    if not graph.inputs or not graph.outputs:
        yield "a graph without inputs or without outputs"
    for what, unique in (("operation", names), ("input", graph.inputs), ("output", graph.outputs)):
        repeated = [name for name in unique if list(unique).count(name) > 1]
        if repeated:
            yield f"two {what}s are named {repeated[0]!r}"
    for name in graph.outputs:
        if name not in made:
            yield f"output {name} is not made by an operation"
    for name in graph.inputs:
        if name in graph.constants:
            yield f"{name} is both an input and a constant"
    for host in graph.host:
        if host.output not in graph.outputs:
            yield f"{host.op} is left to the host on {host.output}, which is not an output"
    for key, value in graph.values.items():
        if not key or key != value.name:
            yield f"value {value.name!r} is filed under {key!r}"
        if any(size < 1 for size in value.shape):
            yield f"value {key} has the shape {list(value.shape)}"
    for name, constant in graph.constants.items():
        value = graph.values[name]
        if constant.shape != value.shape:
            yield f"constant {name} is of shape {list(constant.shape)}, described as {list(value.shape)}"
        yield from _integers(constant, value.format.type, f"constant {name}")


def _operation(graph: IntegerGraph, operation: Operation) -> Problems:
    operands, result = graph.operands(operation), graph.result(operation)
    if not isinstance(operation, Concat) and len(operands) != OPERANDS.get(type(operation), 1):
        yield f"has {len(operands)} operands"
    if not operands:
        yield "has no operands"
    yield from _constants(graph, operation, result)
    if isinstance(operation, KEEPS_FORMAT):
        for value in operands:
            if value.format != result.format:
                yield f"{value.name} and {result.name} are in different formats"
    yield from _powers(graph, operation)
    yield from _rules(operation, operands[0], result)
    shape = output_shape(operation, [value.shape for value in operands], result.shape)
    if shape != result.shape:
        yield f"makes shape {list(shape)}, but {result.name} is described as {list(result.shape)}"
    requantize = getattr(operation, "requantize", None)
    if isinstance(requantize, Thresholds):
        yield from _thresholds(requantize, result)
    elif requantize is not None:
        is_plain = requantize.multiplier.size == 1 and requantize.caps is None
        if isinstance(operation, MatMul | Softmax | LayerNorm) and not is_plain:
            yield "has several multipliers, or caps"
        yield from _requantize(requantize, result)


def _constants(graph: IntegerGraph, operation: Operation, result: Value) -> Problems:
    """Constants have no batch dimension, which only broadcasting forgives; and batches must line up."""
    computed = [name for name in operation.inputs if name not in graph.constants]
    if len(computed) < len(operation.inputs) and not isinstance(operation, BROADCASTING):
        yield "reads a constant: only Add and Mul may"
    if not computed:
        yield "reads constants alone"
    if isinstance(operation, (*BROADCASTING, MatMul)):
        for name in computed:
            if len(graph.values[name].shape) != len(result.shape):
                yield f"{name} and {result.name} differ in rank, so their batches would not line up"


@singledispatch
def _rules(operation: Operation, x: Value, result: Value) -> Problems:
    """The rules of one kind of operation, of its first operand and its result."""
    yield from ()


@_rules.register
def _conv(operation: Conv, x: Value, result: Value) -> Problems:
    rank, weight = len(x.shape) - 1, operation.weight
    if rank not in (1, 2) or weight.ndim != rank + 2:
        yield f"convolves {list(x.shape)} with a kernel of shape {list(weight.shape)}"
    yield from _window(weight.shape[2:], operation.strides, operation.pads, operation.dilations, rank)
    if operation.groups < 1 or weight.shape[1] * operation.groups != x.shape[0]:
        yield f"{operation.groups} groups of {weight.shape[1]} channels do not make up {x.shape[0]}"
    if weight.shape[0] % operation.groups:
        yield f"{weight.shape[0]} outputs cannot be shared out to {operation.groups} groups"
    yield from _weight(weight, operation.bias, operation.weight_format)


@_rules.register
def _linear(operation: Linear, x: Value, result: Value) -> Problems:
    if operation.weight.ndim != 2 or not x.shape or operation.weight.shape[1] != x.shape[-1]:
        yield f"multiplies {list(x.shape)} by a weight of shape {list(operation.weight.shape)}"
    yield from _weight(operation.weight, operation.bias, operation.weight_format)
    caps = operation.requantize.caps
    if caps is not None and caps.ndim > 1:
        yield f"has caps of shape {list(caps.shape)}, not one per output"


@_rules.register
def _add(operation: Add, x: Value, result: Value) -> Problems:
    if len(operation.multipliers) != 2 or 0 in operation.multipliers:
        yield f"has the multipliers {operation.multipliers}"
    if (operation.requantize.multiplier != 1).any():
        yield "requantizes by a multiplier other than 1"


@_rules.register
def _matmul(operation: MatMul, x: Value, result: Value) -> Problems:
    levels = operation.levels
    if levels is not None and (levels.shape != (1 << x.format.type.bits,) or levels.min() < 0):
        yield f"has levels of shape {list(levels.shape)} for {x.format.type}, or negative ones"


@_rules.register
def _softmax(operation: Softmax, x: Value, result: Value) -> Problems:
    coarse, fine = operation.coarse, operation.fine
    if not x.shape:
        yield "has no axis to normalise over"
    if coarse.ndim != 1 or fine.ndim != 1 or not operation.coarse.size or not operation.fine.size:
        yield f"has tables of shape {list(coarse.shape)} and {list(fine.shape)}"
    elif len(coarse) * len(fine) != 1 << x.format.type.bits or len(fine) & (len(fine) - 1):
        yield f"has tables of {len(coarse)} and {len(fine)} entries for {x.format.type}"
    for table in (coarse, fine):
        if table.min() < 0 or table.max() > INT32_MAGNITUDE or (np.diff(table) > 0).any():
            yield "has tables that rise, or hold numbers outside [0, 2^31)"
    if not 0 <= operation.shift <= 62 or operation.one < 1:
        yield "gives the largest element nothing"


@_rules.register
def _layer_norm(operation: LayerNorm, x: Value, result: Value) -> Problems:
    if not x.shape:
        yield "has no axis to normalise over"
    elif operation.gain.shape != x.shape[-1:] or operation.offset.shape != x.shape[-1:]:
        yield f"has gains of shape {list(operation.gain.shape)} for rows of {x.shape[-1]}"
    elif not 0 <= operation.fraction <= MOST_FRACTION or reach(x.shape[-1], operation.fraction) > INT32_MAGNITUDE:
        yield f"has {operation.fraction} bits behind the point, for rows of {x.shape[-1]}"
    if np.abs(operation.gain).max(initial=0) > INT32_MAGNITUDE:
        yield "has gains that 32 bits do not hold"
    if not 0 <= operation.finer <= FINEST:
        yield f"is finer by {operation.finer} bits"
    if operation.epsilon < 1:
        yield "may divide by 0: its epsilon is below 1"
    if (operation.requantize.multiplier != 1).any():
        yield "requantizes by a multiplier other than 1"


@_rules.register
def _average_pool(operation: AveragePool, x: Value, result: Value) -> Problems:
    rank = len(x.shape) - 1
    yield from _window(operation.kernel, operation.strides, operation.pads, operation.dilations, rank)


@_rules.register
def _max_pool(operation: MaxPool, x: Value, result: Value) -> Problems:
    rank = len(x.shape) - 1
    yield from _window(operation.kernel, operation.strides, operation.pads, operation.dilations, rank)
    # Windows of padding alone have no largest element. They need wide pads, or taps that step over all of x.
    for axis, size in enumerate(x.shape[1:]):
        pads = operation.pads[axis], operation.pads[rank + axis]
        if max(pads) >= operation.kernel[axis]:
            yield f"pads by {max(pads)}, not less than its kernel's {operation.kernel[axis]}"
        if max(pads) > 0 and operation.dilations[axis] > size:
            yield f"pads, and steps over all {size} elements of an axis"


@_rules.register
def _table(operation: Table, x: Value, result: Value) -> Problems:
    entries, bits = operation.entries, x.format.type.bits
    if bits > LARGEST_TABLE_BITS:
        yield f"tabulates {x.format.type}, more than {LARGEST_TABLE_BITS} bits"
    rows = {1, x.shape[0]} if x.shape else {1}
    if entries.ndim != 2 or entries.shape[0] not in rows or entries.shape[1] != 1 << bits:
        yield f"has entries of shape {list(entries.shape)} for {x.format.type} of shape {list(x.shape)}"
    yield from _integers(entries, result.format.type, "its table")


@_rules.register
def _interpolated_table(operation: InterpolatedTable, x: Value, result: Value) -> Problems:
    knots, starts, places, width = operation.knots, operation.starts, operation.places, operation.segment_places
    rows = {1, x.shape[0]} if x.shape else {1}
    if knots.ndim != 2 or knots.shape[0] not in rows:
        yield f"has knots of shape {list(knots.shape)} for {list(x.shape)}"
    if not 0 <= width <= WIDEST_SEGMENT or starts.ndim != 1 or operation.inputs_counted != 1 << x.format.type.bits:
        yield f"has {starts.size} segments of 2^{width} inputs for {x.format.type}"
    if places.shape != starts.shape or places.max() > width:
        yield "has segments without a spacing of their knots, or one wider than the segment"
    elif (starts + (np.int64(1) << (width - places.astype(np.int64)))).max() >= knots.shape[1]:
        yield "has segments that read beyond its knots"
    if np.abs(knots.astype(np.int64)).max() > KNOT_MAGNITUDE:
        yield f"has knots beyond {KNOT_MAGNITUDE:,}"
    kind = result.format.type
    if not kind.lowest <= operation.lowest <= operation.highest <= kind.highest:
        yield f"clamps to [{operation.lowest}, {operation.highest}], beyond {kind}"


@_rules.register
def _transpose(operation: Transpose, x: Value, result: Value) -> Problems:
    if sorted(operation.permutation) != list(range(len(x.shape))):
        yield f"permutes the axes of {list(x.shape)} by {operation.permutation}"


@_rules.register
def _reshape(operation: Reshape, x: Value, result: Value) -> Problems:
    if math.prod(x.shape) != math.prod(result.shape):
        yield f"gives {list(x.shape)} the shape {list(result.shape)}"


@_rules.register
def _slice(operation: Slice, x: Value, result: Value) -> Problems:
    ranks = {len(operation.starts), len(operation.steps), len(x.shape), len(result.shape)}
    if len(ranks) > 1:
        yield f"slices {list(x.shape)} to {list(result.shape)} along {len(operation.starts)} axes"
    for start, step, size, kept in zip(operation.starts, operation.steps, x.shape, result.shape, strict=True):
        if step == 0 or not 0 <= start < size or not 0 <= start + step * (kept - 1) < size:
            yield f"takes {kept} elements from {start} in steps of {step} off an axis of {size}"


@_rules.register
def _pad(operation: Pad, x: Value, result: Value) -> Problems:
    kind = x.format.type
    if len(operation.pads) != 2 * len(x.shape) or min(operation.pads, default=0) < 0:
        yield f"has the pads {operation.pads}"
    if not kind.lowest <= operation.value <= kind.highest:
        yield f"pads with {operation.value}, outside {kind}"


@_rules.register
def _resize(operation: Resize, x: Value, result: Value) -> Problems:
    if len(operation.indices) != len(x.shape):
        yield f"has indices for {len(operation.indices)} axes of {len(x.shape)}"
    for indices, size in zip(operation.indices, x.shape, strict=True):
        if any(not 0 <= index < size for index in indices):
            yield f"reads beyond an axis of {size}"


def _weight(weight: IntegerArray, bias: IntegerArray, format: Format) -> Problems:
    if format.zero_point != 0:
        yield f"its weight has the zero point {format.zero_point}"
    if bias.shape != weight.shape[:1]:
        yield f"has a bias of shape {list(bias.shape)} for {weight.shape[0]} outputs"
    yield from _integers(weight, format.type, "its weight")
    if format.axis not in (None, 0) or len(format.scale) not in (1, weight.shape[0]):
        yield f"has {len(format.scale)} weight scales along axis {format.axis} for {weight.shape[0]} outputs"
    if format.grid is not None:
        yield from _grid(weight.reshape(weight.shape[0], -1), format.grid)


def _grid(rows: IntegerArray, grid: Grid) -> Problems:
    """rows: the weights of each output, (outputs, inputs)."""
    if not grid.fits(*rows.shape):
        yield f"has a grid for other than its {rows.shape[0]} outputs of {rows.shape[1]} inputs"
    elif not grid.holds(rows):
        kind = grid.kind if isinstance(grid, Codebook) else "group"
        yield f"has weights that are not on their {kind} grid"


def _window(
    kernel: Shape, strides: tuple[int, ...], pads: tuple[int, ...], dilations: tuple[int, ...], rank: int
) -> Problems:
    if not 1 <= rank <= 2:
        yield f"has {rank} spatial axes, not 1 or 2"
    if [len(kernel), len(strides), len(pads), len(dilations)] != [rank, rank, 2 * rank, rank]:
        yield f"has a kernel, strides, pads or dilations that do not fit {rank} spatial axes"
    if min(*kernel, *strides, *dilations) < 1 or min(pads) < 0:
        yield "has a kernel, stride or dilation below 1, or a pad below 0"


def _requantize(requantize: Requantize, result: Value) -> Problems:
    kind = result.format.type
    if requantize.zero_point != result.format.zero_point:
        yield f"requantizes to zero point {requantize.zero_point}, not {result.format.zero_point}"
    if requantize.lowest < kind.lowest or requantize.highest > kind.highest:
        yield f"clamps to [{requantize.lowest}, {requantize.highest}], beyond {kind}"
    shapes = {"a multiplier": requantize.multiplier.shape}
    if requantize.caps is not None:
        shapes["caps"] = requantize.caps.shape
    for what, shape in shapes.items():
        try:
            fits = np.broadcast_shapes(shape, result.shape) == result.shape
        except ValueError:
            fits = False
        if not fits:
            yield f"{what} of shape {list(shape)} does not broadcast to {list(result.shape)}"


def _thresholds(rule: Thresholds, result: Value) -> Problems:
    thresholds = rule.thresholds
    if result.format.base is None or thresholds.shape != (result.format.type.highest,):
        yield f"has thresholds of shape {list(thresholds.shape)} for {result.format.type}"
    if thresholds.min() < 1 or thresholds.max() > INT32_MAGNITUDE or (np.diff(thresholds) > 0).any():
        yield "has thresholds that rise, or are not in [1, 2^31)"


def _powers(graph: IntegerGraph, operation: Operation) -> Problems:
    """Powers are made by a softmax and read on the left of a product, with levels, and by nothing else."""
    made = isinstance(getattr(operation, "requantize", None), Thresholds)
    if (graph.result(operation).format.base is not None) != made:
        yield f"makes {operation.output} in another format than its thresholds say"
    looked_up = isinstance(operation, MatMul) and operation.levels is not None
    for position, value in enumerate(graph.operands(operation)):
        if (value.format.base is not None) != (looked_up and position == 0):
            yield f"reads {value.name} in another format than its levels say"


def _integers(array: IntegerArray, kind: IntegerType, what: str) -> Problems:
    if array.dtype != kind.storage:
        yield f"{what} is stored as {array.dtype}, not {kind.storage}"
    if array.size and not kind.lowest <= int(array.min()) <= int(array.max()) <= kind.highest:
        yield f"{what} holds [{array.min()}, {array.max()}], beyond {kind}"
