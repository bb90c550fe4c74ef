"""QuantizeLinear and DequantizeLinear: of ONNX, and of ONNX Runtime's own domain, which had narrow types first."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper

from bitsmith.errors import ModelError, UnsupportedError
from bitsmith.importing.quantized.constants import QuantizedConstant, rounded, spread
from bitsmith.importing.quantized.reader import Integers, Reader, Real, attribute, name_of
from bitsmith.importing.screen import node_label
from bitsmith.ir.formats import Format, IntegerType

Array = npt.NDArray[Any]

TYPES = {
    "int4": IntegerType(4),
    "uint4": IntegerType(4, signed=False),
    "int2": IntegerType(2),
    "uint2": IntegerType(2, signed=False),
    "int8": IntegerType(8),
    "uint8": IntegerType(8, signed=False),
    "int16": IntegerType(16),
    "uint16": IntegerType(16, signed=False),
    "int32": IntegerType(32),
}
"""What a tensor of integers may be, by the name of its numpy type."""


def type_of(kind: Any, node: NodeProto) -> IntegerType:
    """The integers of a numpy type; UnsupportedError for float8 and the like."""
    name = np.dtype(kind).name
    if name not in TYPES:
        raise UnsupportedError(f"quantized to {name}", where=node_label(node), fix="Quantize to integers.")
    return TYPES[name]


def scale_of(reader: Reader, node: NodeProto, index: int) -> Array:
    """A scale operand: positive, finite, float32."""
    scale = reader.array(node, index)
    if scale is None or scale.dtype.kind != "f":
        raise ModelError("no scale", where=node_label(node), fix="Export the model again.")
    scale = scale.astype(np.float32)
    if scale.size == 0 or not np.isfinite(scale).all() or scale.min() <= 0:
        raise ModelError(
            f"its scale {name_of(node, index)} is not a positive finite number",
            where=node_label(node),
            fix="Quantize again: an output that is always 0 needs a scale too.",
        )
    return scale


def format_of(reader: Reader, node: NodeProto, scale_index: int, zero_index: int) -> Format:
    """The format of an activation that two operands give: one scale, one zero point, whose type is that of both.

    A QuantizeLinear or DequantizeLinear may have a scale per channel, if their zero points are all the same.
    """
    scale, zero_point = scale_of(reader, node, scale_index), reader.array(node, zero_index)
    may_differ = node.op_type in ("QuantizeLinear", "DequantizeLinear") and scale.ndim == 1 and scale.size > 1
    if may_differ and zero_point is not None and zero_point.size and (zero_point == zero_point.flat[0]).all():
        zero = one_number(zero_point.ravel()[:1], node)
        return Format(type_of(zero_point.dtype, node), tuple(scale), zero, attribute(node, "axis", 1))
    if scale.size != 1:
        raise UnsupportedError(
            f"a scale per channel for the activation {node.input[0]}",
            where=node_label(node),
            fix="Quantize activations per tensor; only weights may have a scale per channel.",
        )
    if zero_point is None:
        declared = attribute(node, "output_dtype", 0)
        stored = helper.tensor_dtype_to_np_dtype(declared) if declared else np.dtype(np.uint8)
        return Format(type_of(stored, node), (float(scale.item()),))
    return Format(type_of(zero_point.dtype, node), (float(scale.item()),), one_number(zero_point, node))


def one_number(array: Array, node: NodeProto) -> int:
    """The integer in an operand that must be one."""
    if array.size != 1 or not np.isfinite(array.astype(np.float64)).all():
        raise ModelError(
            f"{list(array.shape)} numbers where one is due", where=node_label(node), fix="Export the model again."
        )
    return int(array.astype(np.int64).item())


def quantize(reader: Reader, node: NodeProto) -> None:
    """QuantizeLinear: of a constant, its integers; of an activation, a marker."""
    reader.dialects["QDQ"] = None
    _refuse_blocks(node)
    name, output = node.input[0], node.output[0]
    held = reader.held(name)
    if isinstance(held, QuantizedConstant):
        held = held.real
    if isinstance(held, np.ndarray):
        reader.hold(output, _constant(reader, node, held))
        return
    if isinstance(held, Integers):
        raise UnsupportedError(f"{name} is quantized already", where=node_label(node), fix="Export the model again.")
    format = format_of(reader, node, 1, 2)
    reader.hold(output, Integers(reader.mark(held.name, output, format, output, integers=True), format))


def dequantize(reader: Reader, node: NodeProto) -> None:
    """DequantizeLinear: of constant integers, the reals they stand for; of others, the marker that made them."""
    _refuse_blocks(node)
    name, output = node.input[0], node.output[0]
    held = reader.held(name)
    if isinstance(held, QuantizedConstant):
        reader.hold(output, held)
    elif isinstance(held, np.ndarray):
        reader.dialects["QDQ"] = None
        scale, zero_point = scale_of(reader, node, 1), reader.array(node, 2)
        axis = attribute(node, "axis", 1)
        where = node_label(node)
        zeros = np.zeros((), np.int64) if zero_point is None else zero_point.astype(np.int64)
        reader.hold(
            output,
            QuantizedConstant(
                held.astype(np.int64),
                spread(scale, held.shape, axis, where),
                spread(zeros, held.shape, axis, where),
                reader.narrowed.get(name) or type_of(held.dtype, node),
            ),
        )
    else:
        reader.hold(output, Real(reader.integers(name, _read_as(reader, node), node)))


def _read_as(reader: Reader, node: NodeProto) -> Format:
    """The format that a DequantizeLinear reads; without a zero point, of the type of what it reads."""
    if len(node.input) > 2 and node.input[2]:
        return format_of(reader, node, 1, 2)
    scale = scale_of(reader, node, 1)
    return Format(reader.type_read(node), tuple(scale.ravel()[:1]))


def clip(reader: Reader, node: NodeProto) -> None:
    """Clip of integers: fewer bits in a wider type (Brevitas' QCDQ, 7-bit fake quantization of PyTorch)."""
    held = reader.held(node.input[0])
    bounds = [reader.array(node, index) for index in (1, 2)]
    if isinstance(held, np.ndarray) and held.dtype.kind not in "fb":
        low, high = (None if bound is None else one_number(bound, node) for bound in bounds)
        reader.hold(node.output[0], np.clip(held.astype(np.int64), low, high).astype(held.dtype))
        reader.narrowed[node.output[0]] = _spanning(low, high, type_of(held.dtype, node)) or type_of(held.dtype, node)
        return
    if not isinstance(held, QuantizedConstant | Integers) or any(b is not None and b.dtype.kind == "f" for b in bounds):
        reader.emit(node)
        return
    low, high = (None if bound is None else one_number(bound, node) for bound in bounds)
    if isinstance(held, QuantizedConstant):
        kind = _spanning(low, high, held.type) or held.type
        clipped = np.clip(held.integers, low, high)
        reader.hold(node.output[0], QuantizedConstant(clipped, held.scales, held.zero_points, kind))
        return
    before = held.format
    narrow = None if before is None else _spanning(low, high, before.type)
    if before is None or narrow is None or not narrow.lowest <= before.zero_point <= narrow.highest:
        raise UnsupportedError(
            f"integers clipped to [{low}, {high}], which no number of bits spans",
            where=node_label(node),
            fix="Quantize to the whole range of some bits, such as -8 to 7 or 0 to 127.",
        )
    format = Format(narrow, before.scale, before.zero_point)
    output = node.output[0]
    reader.hold(output, Integers(reader.mark(held.name, output, format, output, integers=True), format))


def _spanning(low: int | None, high: int | None, kind: IntegerType) -> IntegerType | None:
    """The integer type whose range is exactly [low, high]; None if there is none."""
    low, high = kind.lowest if low is None else low, kind.highest if high is None else high
    for signed in (True, False):
        for bits in range(1, 17):
            one = IntegerType(bits, signed)
            if (one.lowest, one.highest) == (low, high):
                return one
    return None


def _constant(reader: Reader, node: NodeProto, real: Array) -> QuantizedConstant:
    """A float weight that the model itself rounds."""
    scale, zero_point = scale_of(reader, node, 1), reader.array(node, 2)
    axis, where = attribute(node, "axis", 1), node_label(node)
    declared = attribute(node, "output_dtype", TensorProto.UINT8)
    kind = type_of(helper.tensor_dtype_to_np_dtype(declared) if zero_point is None else zero_point.dtype, node)
    zeros = np.zeros((), np.int64) if zero_point is None else zero_point.astype(np.int64)
    scales, zero_points = spread(scale, real.shape, axis, where), spread(zeros, real.shape, axis, where)
    return rounded(real, scales, zero_points, kind, where)


def _refuse_blocks(node: NodeProto) -> None:
    if attribute(node, "block_size", 0):
        raise UnsupportedError(
            "a scale for every block of inputs", where=node_label(node), fix="Quantize per output channel."
        )
