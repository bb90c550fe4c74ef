"""QONNX: Quant and BipolarQuant nodes, which round in float, as Brevitas and QKeras' exporters write them."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto

from bitsmith.errors import ModelError, UnsupportedError
from bitsmith.importing.quantized.constants import QuantizedConstant, rounded, spread
from bitsmith.importing.quantized.qdq import scale_of
from bitsmith.importing.quantized.reader import Integers, Reader, Real, attribute
from bitsmith.importing.screen import node_label
from bitsmith.ir.formats import Format, IntegerType

DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")

_OTHER = {
    "FloatQuant": "Quantize to integers.",
    "MultiThreshold": "Give the model from before FINN's streamlining.",
    "Trunc": "Use average pools that are quantized with Quant, such as AvgPool2d followed by QuantIdentity.",
}


def quant(reader: Reader, node: NodeProto) -> None:
    """Quant(x, scale, zero_point, bits): of a constant, its integers; of an activation, a marker."""
    reader.dialects["QONNX"] = None
    kind = type_of(reader, node)
    scale, zero_point = scale_of(reader, node, 1), _whole(reader, node, 2)
    narrow = bool(attribute(node, "narrow", 0))
    lowest = kind.lowest + (narrow and kind.signed)
    highest = kind.highest - (narrow and not kind.signed)
    held, output = reader.held(node.input[0]), node.output[0]
    if isinstance(held, QuantizedConstant):
        held = held.real
    if isinstance(held, np.ndarray):
        where = node_label(node)
        scales, zeros = (spread(one, held.shape, 0, where) for one in (scale, zero_point))
        reader.hold(output, rounded(held, scales, zeros, kind, where, (lowest, highest)))
        return
    if isinstance(held, Integers):
        raise ModelError(f"{node.input[0]} holds integers", where=node_label(node), fix="Export the model again.")
    if scale.size != 1 or zero_point.size != 1:
        raise UnsupportedError(
            f"a scale per channel for the activation {node.input[0]}",
            where=node_label(node),
            fix="Quantize activations per tensor; only weights may have a scale per channel.",
        )
    format = Format(kind, (float(scale.item()),), int(zero_point.item()))
    source = held.name
    if narrow and not reader.is_input(source):
        source = _clipped(reader, node, source, format, lowest, highest)
    reader.mark(source, output, format, output, integers=False)
    reader.hold(output, Real(output))


def bipolar_quant(reader: Reader, node: NodeProto) -> None:
    """BipolarQuant(x, scale): -scale below 0, else scale."""
    reader.dialects["QONNX"] = None
    held, scale = reader.held(node.input[0]), scale_of(reader, node, 1)
    if not isinstance(held, np.ndarray):
        raise UnsupportedError(
            "an activation of one bit", where=node_label(node), fix="Give activations 2 bits or more."
        )
    signs = np.where(held >= 0, 1, -1).astype(np.int64)
    scales = spread(scale, held.shape, 0, node_label(node))
    reader.hold(node.output[0], QuantizedConstant(signs, scales, np.zeros_like(signs), IntegerType(2)))


def other(reader: Reader, node: NodeProto) -> None:
    """Refuse what rounds in a way that integers here do not."""
    raise UnsupportedError(f"{node.op_type} has no integer form", where=node_label(node), fix=_OTHER[node.op_type])


def type_of(reader: Reader, node: NodeProto) -> IntegerType:
    """The integers of a Quant node: a whole number of bits that round half to even."""
    where = node_label(node)
    mode = str(attribute(node, "rounding_mode", "ROUND")).upper()
    if mode not in ("ROUND", "HALF_EVEN"):
        raise UnsupportedError(
            f"it rounds by {mode}", where=where, fix="Export with rounding_mode ROUND: integers round to the nearest."
        )
    bits = reader.array(node, 3)
    width = 0.0 if bits is None or bits.size != 1 else float(bits.item())
    if not 2 <= width <= 32 or width != int(width):
        raise UnsupportedError(f"{width:g} bits", where=where, fix="Quantize to a whole number of bits, 2 to 16.")
    return IntegerType(int(width), bool(attribute(node, "signed", 1)))


def _whole(reader: Reader, node: NodeProto, index: int) -> Any:
    zero_point = reader.array(node, index)
    if zero_point is None or np.any(zero_point != np.rint(zero_point)):
        raise UnsupportedError("a zero point that is no integer", where=node_label(node), fix="Make it 0.")
    return zero_point.astype(np.int64)


def _clipped(reader: Reader, node: NodeProto, source: str, format: Format, lowest: int, highest: int) -> str:
    """The ends of a narrow range as a Clip in front of the marker; it rides with the op before it."""
    bounds = []
    for end, role in ((lowest, "lowest"), (highest, "highest")):
        name = reader.fresh(f"{node.output[0]}.{role}")
        reader.hold(name, format.dequantize(np.int64(end)))
        bounds.append(name)
    clipped = reader.fresh(f"{node.output[0]}.clipped")
    reader.hold(source, Real(source))
    reader.make("Clip", [source, *bounds], clipped, node)
    return clipped


HANDLERS = {"Quant": quant, "IntQuant": quant, "BipolarQuant": bipolar_quant, **dict.fromkeys(_OTHER, other)}
