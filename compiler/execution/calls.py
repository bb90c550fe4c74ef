"""Which function executes an operation in ONNX, and with which attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch

import numpy as np
from onnx.helper import np_dtype_to_tensor_dtype

from bitsmith.errors import InternalError, UnsupportedError
from bitsmith.ir.bounds import INT32_MAGNITUDE
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import (
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
    Slice,
    Softmax,
    Table,
    Thresholds,
    Transpose,
    Value,
)

Attributes = Mapping[str, int | Sequence[int]]

PAST_THE_START = np.iinfo(np.int64).min + 1
"""The end of an ONNX Slice that goes down to element 0: any number that is negative still when the size is added."""


@dataclass(frozen=True)
class Call:
    """A call of `function`: on the operation's inputs, then on its arrays of these names."""

    function: str
    attributes: Attributes
    arrays: tuple[str, ...] = field(default=())


@singledispatch
def call(operation: Operation, graph: IntegerGraph) -> Call:
    """How ONNX executes `operation`. Axes count from 1 here: 0 is the batch.

    Raises UnsupportedError, naming the operation, where no standard integer op does it.
    """
    raise InternalError(f"no function executes a {operation.kind}", where=operation.name)


@call.register
def _conv(operation: Conv, graph: IntegerGraph) -> Call:
    attributes: Attributes = {
        **_unsigned(operation, graph),
        **_window(operation),
        "groups": operation.groups,
        "weight_signed": int(operation.weight_format.type.signed),
    }
    return _requantizing(operation, graph, f"Conv{_width(operation, graph)}", attributes, "weight", "bias")


@call.register
def _linear(operation: Linear, graph: IntegerGraph) -> Call:
    attributes = {
        **_unsigned(operation, graph),
        "weight_signed": int(operation.weight_format.type.signed),
    }
    return _requantizing(operation, graph, f"Linear{_width(operation, graph)}", attributes, "weight", "bias")


@call.register
def _average_pool(operation: AveragePool, graph: IntegerGraph) -> Call:
    attributes: Attributes = {
        **_unsigned(operation, graph),
        "kernel": operation.kernel,
        **_window(operation),
    }
    return _requantizing(operation, graph, f"AveragePool{_width(operation, graph)}", attributes)


@call.register
def _add(operation: Add, graph: IntegerGraph) -> Call:
    attributes = {
        **_zero_points(operation, graph),
        "a_multiplier": operation.multipliers[0],
        "b_multiplier": operation.multipliers[1],
    }
    return _requantizing(operation, graph, "Add", attributes)


@call.register
def _mul(operation: Mul, graph: IntegerGraph) -> Call:
    return _requantizing(operation, graph, "Mul", _zero_points(operation, graph))


@call.register
def _matmul(operation: MatMul, graph: IntegerGraph) -> Call:
    if operation.levels is None:
        return _requantizing(operation, graph, "MatMul", _zero_points(operation, graph))
    zero_point = {"b_zero_point": graph.operands(operation)[1].format.zero_point}
    return _requantizing(operation, graph, "MatMulOfPowers", zero_point, "levels")


@call.register
def _softmax(operation: Softmax, graph: IntegerGraph) -> Call:
    attributes = {"width": len(operation.fine), "table_shift": operation.shift}
    if isinstance(operation.requantize, Thresholds):
        kind = {"type": _type(graph.result(operation))}
        return Call("SoftmaxToPowers", {**attributes, **kind}, ("coarse", "fine", "requantize.thresholds"))
    return _requantizing(operation, graph, "Softmax", attributes, "coarse", "fine")


@call.register
def _layer_norm(operation: LayerNorm, graph: IntegerGraph) -> Call:
    (x,) = graph.operands(operation)
    attributes = {
        "x_zero_point": x.format.zero_point,
        "count": x.shape[-1],
        "epsilon": operation.epsilon,
        "finer": 1 << operation.finer,
        "places": 45 - operation.fraction,
    }
    return _requantizing(operation, graph, "LayerNorm", attributes, "gain", "offset")


@call.register
def _max_pool(operation: MaxPool, graph: IntegerGraph) -> Call:
    width = _width(operation, graph)
    back = {"type": _type(graph.result(operation))} if width else {}
    return Call(f"MaxPool{width}", {"kernel": operation.kernel, **_window(operation), **back})


@call.register
def _table(operation: Table, graph: IntegerGraph) -> Call:
    lowest = graph.operands(operation)[0].format.type.lowest
    return Call("TablePerChannel" if len(operation.entries) > 1 else "Table", {"lowest_x": lowest}, ("entries",))


@call.register
def _interpolated_table(operation: InterpolatedTable, graph: IntegerGraph) -> Call:
    attributes = {
        "lowest_x": graph.operands(operation)[0].format.type.lowest,
        "segment_places": operation.segment_places,
        "lowest": operation.lowest,
        "highest": operation.highest,
        "type": _type(graph.result(operation)),
    }
    function = "InterpolatedTablePerChannel" if len(operation.knots) > 1 else "InterpolatedTable"
    return Call(function, attributes, ("knots", "starts", "places"))


@call.register
def _concat(operation: Concat, graph: IntegerGraph) -> Call:
    return Call(f"Concat{len(operation.inputs)}", {"axis": 1 + operation.axis})


@call.register
def _reshape(operation: Reshape, graph: IntegerGraph) -> Call:
    return Call("Reshape", {"shape": (0, *graph.result(operation).shape)})


@call.register
def _transpose(operation: Transpose, graph: IntegerGraph) -> Call:
    return Call("Transpose", {"permutation": (0, *(1 + axis for axis in operation.permutation))})


@call.register
def _slice(operation: Slice, graph: IntegerGraph) -> Call:
    sizes = graph.result(operation).shape
    ends = [start + step * size for start, step, size in zip(operation.starts, operation.steps, sizes, strict=True)]
    attributes = {
        "starts": operation.starts,
        "ends": tuple(end if end >= 0 else PAST_THE_START for end in ends),
        "axes": tuple(range(1, 1 + len(sizes))),
        "steps": operation.steps,
    }
    return Call("Slice", attributes)


@call.register
def _pad(operation: Pad, graph: IntegerGraph) -> Call:
    rank = len(operation.pads) // 2
    pads = (0, *operation.pads[:rank], 0, *operation.pads[rank:])
    return Call("Pad", {"pads": pads, "value": operation.value, "type": _type(graph.result(operation))})


@call.register
def _resize(operation: Resize, graph: IntegerGraph) -> Call:
    attributes = {f"indices{axis}": indices for axis, indices in enumerate(operation.indices)}
    return Call(f"Resize{len(operation.indices)}", attributes)


def _width(operation: Operation, graph: IntegerGraph) -> str:
    """Which form of a function takes the operand: the plain one of a byte, `Wide` of two.

    `WideWeight` takes an operand of a byte and weights of two.
    """
    x = graph.operands(operation)[0]
    bits = x.format.type.bits
    if bits > 16:
        raise UnsupportedError(
            f"ONNX has no such operation on {x.name}, which is {x.format.type}",
            where=f"{operation.kind} {operation.name}",
            fix="Use at most 16 bits for it.",
        )
    if isinstance(operation, Conv | Linear):
        if operation.weight.dtype.itemsize > 1:
            _require_wide_weight(operation, x)
            return "WideWeight"
        if bits > 8:
            _require_low_bytes(operation, operation.weight, 255, "its operand", "Use at most 8 bits for its input.")
    return "Wide" if bits > 8 else ""


def _require_wide_weight(operation: Conv | Linear, x: Value) -> None:
    kind = x.format.type
    if operation.weight_format.type.bits > 16 or kind.bits > 8:
        raise UnsupportedError(
            f"ONNX multiplies no weights of {operation.weight_format.type} by {kind}",
            where=f"{operation.kind} {operation.name}",
            fix="Use at most 16 bits for its weights, and at most 8 for them or for its input.",
        )
    farthest = max(kind.highest - x.format.zero_point, x.format.zero_point - kind.lowest)
    fix = "Use a format for its weights whose integers fit 8 bits."
    _require_low_bytes(operation, operation.weight.astype(np.int64) % 256, farthest, "its weights", fix)


def _require_low_bytes(operation: Conv | Linear, weight: IntegerArray, farthest: int, what: str, fix: str) -> None:
    """The two bytes of a number are summed apart, and the low one may take any value, in or out of the bound."""
    magnitudes = np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1)
    if int(magnitudes.max()) * farthest > INT32_MAGNITUDE:
        raise UnsupportedError(
            f"int32 cannot hold the sum over the low bytes of {what}",
            where=f"{operation.kind} {operation.name}",
            fix=fix,
        )


def _unsigned(operation: Operation, graph: IntegerGraph) -> dict[str, int]:
    format = graph.operands(operation)[0].format
    return {"x_zero_point": format.zero_point, "x_signed": int(format.type.signed)}


def _window(operation: Conv | AveragePool | MaxPool) -> dict[str, Sequence[int]]:
    return {"strides": operation.strides, "pads": operation.pads, "dilations": operation.dilations}


def _zero_points(operation: Operation, graph: IntegerGraph) -> dict[str, int]:
    a, b = graph.operands(operation)
    return {"a_zero_point": a.format.zero_point, "b_zero_point": b.format.zero_point}


def _requantizing(
    operation: Conv | Linear | AveragePool | Add | Mul | MatMul | Softmax | LayerNorm,
    graph: IntegerGraph,
    function: str,
    attributes: Attributes,
    *arrays: str,
) -> Call:
    """A call that ends in a requantize step; `Capped` functions take an upper bound per channel as well."""
    rule = operation.requantize
    assert isinstance(rule, Requantize)
    every = {**attributes, **_requantize(rule, graph.result(operation))}
    if rule.caps is None:
        return Call(function, every, (*arrays, "requantize.multiplier"))
    return Call(f"{function}Capped", every, (*arrays, "requantize.multiplier", "requantize.caps"))


def _requantize(rule: Requantize, result: Value) -> dict[str, int]:
    return {
        "shift": rule.shift,
        "zero_point": rule.zero_point,
        "lowest": rule.lowest,
        "highest": rule.highest,
        "type": _type(result),
    }


def _type(value: Value) -> int:
    """The TensorProto type that stores a value."""
    return int(np_dtype_to_tensor_dtype(value.format.type.storage))
