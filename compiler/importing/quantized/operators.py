"""QOperator form: an op on integers is the op on the reals that they stand for, with a quantizer behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from bitsmith.errors import ModelError, UnsupportedError
from bitsmith.importing.quantized.constants import QuantizedConstant, spread
from bitsmith.importing.quantized.qdq import format_of, scale_of, type_of
from bitsmith.importing.quantized.reader import Integers, Reader, attribute
from bitsmith.importing.screen import node_label
from bitsmith.ir.formats import Format, IntegerType

Handler = Callable[[Reader, NodeProto], None]


def _operand(reader: Reader, node: NodeProto, index: int, axis: int = 0) -> str:
    """The reals of operand `index`, whose scale and zero point are the two operands behind it."""
    name = node.input[index]
    held = reader.held(name)
    if not isinstance(held, np.ndarray):
        return reader.integers(name, format_of(reader, node, index + 1, index + 2), node)
    zero_point = reader.array(node, index + 2)
    zeros = np.zeros((), np.int64) if zero_point is None else zero_point.astype(np.int64)
    constant = QuantizedConstant(
        held.astype(np.int64),
        spread(scale_of(reader, node, index + 1), held.shape, axis, node_label(node)),
        spread(zeros, held.shape, axis, node_label(node)),
        type_of(held.dtype, node),
    )
    real = reader.fresh(f"{name}.real")
    reader.hold(real, constant)
    return real


def _bias(reader: Reader, node: NodeProto, index: int, x_scale: int, w_scale: int) -> list[str]:
    """The bias as a real constant: int32 at the scale of the accumulator."""
    bias = reader.array(node, index)
    if bias is None:
        return []
    scales = scale_of(reader, node, x_scale).astype(np.float64).ravel()[0] * scale_of(reader, node, w_scale).ravel()
    scales = spread(scales.astype(np.float32), bias.shape, -1, node_label(node))
    zeros = np.zeros(bias.shape, np.int64)
    name = reader.fresh(f"{node.input[index]}.real")
    reader.hold(name, QuantizedConstant(bias.astype(np.int64), scales, zeros, IntegerType(32)))
    return [name]


def _result(reader: Reader, node: NodeProto, op: str, inputs: list[str], format: Format, **attributes: Any) -> None:
    """The op in float, and what it makes rounded to `format`."""
    reader.dialects["QOperator"] = None
    output = node.output[0]
    reader.make(op, inputs, output, node, **attributes)
    rounded = reader.mark(output, reader.fresh(f"{output}.rounded"), format, output, integers=True)
    reader.hold(output, Integers(rounded, format))


def _attributes(node: NodeProto, *left_out: str) -> dict[str, Any]:
    return {one.name: helper.get_attribute_value(one) for one in node.attribute if one.name not in left_out}


def _conv(reader: Reader, node: NodeProto) -> None:
    inputs = [_operand(reader, node, 0), _operand(reader, node, 3), *_bias(reader, node, 8, 1, 4)]
    _result(reader, node, "Conv", inputs, format_of(reader, node, 6, 7), **_attributes(node, "channels_last"))


def _matmul(reader: Reader, node: NodeProto) -> None:
    inputs = [_operand(reader, node, 0), _operand(reader, node, 3, axis=-1)]
    _result(reader, node, "MatMul", inputs, format_of(reader, node, 6, 7))


def _gemm(reader: Reader, node: NodeProto) -> None:
    if len(node.input) < 9 or not node.input[8]:
        raise UnsupportedError("its result is not quantized", where=node_label(node), fix="Give it y_scale.")
    axis = 0 if attribute(node, "transB", 0) else 1
    inputs = [_operand(reader, node, 0), _operand(reader, node, 3, axis=axis), *_bias(reader, node, 6, 1, 4)]
    _result(reader, node, "Gemm", inputs, format_of(reader, node, 7, 8), **_attributes(node))


def _binary(op: str) -> Handler:
    def handle(reader: Reader, node: NodeProto) -> None:
        inputs = [_operand(reader, node, 0), _operand(reader, node, 3)]
        _result(reader, node, op, inputs, format_of(reader, node, 6, 7))

    return handle


def _unary(op: str) -> Handler:
    def handle(reader: Reader, node: NodeProto) -> None:
        if attribute(node, "channels_last", 0):
            raise UnsupportedError(
                "channels last", where=node_label(node), fix="Give the model from before ONNX Runtime's layout changes."
            )
        inputs = [_operand(reader, node, 0)]
        kept = _attributes(node, "channels_last", "opset")
        _result(reader, node, op, inputs, format_of(reader, node, 3, 4), **kept)

    return handle


def _concat(reader: Reader, node: NodeProto) -> None:
    """Its scale and zero point come first; each input is followed by its own."""
    if len(node.input) % 3 != 2:
        raise ModelError("an operand without scale and zero point", where=node_label(node), fix="Export it again.")
    inputs = [_operand(reader, node, index) for index in range(2, len(node.input), 3)]
    _result(reader, node, "Concat", inputs, format_of(reader, node, 0, 1), **_attributes(node))


def dynamic(reader: Reader, node: NodeProto) -> None:
    """Refuse scales that are computed from the data."""
    raise UnsupportedError(
        "quantized dynamically: its scales are computed when the model runs",
        where=node_label(node),
        fix="Quantize statically, or give the float model.",
    )


HANDLERS: dict[str, Handler] = {
    "ConvInteger": dynamic,
    "DynamicQuantizeLinear": dynamic,
    "MatMulInteger": dynamic,
    "DynamicQuantizeMatMul": dynamic,
    "QGemm": _gemm,
    "QLinearAdd": _binary("Add"),
    "QLinearAveragePool": _unary("AveragePool"),
    "QLinearConcat": _concat,
    "QLinearConv": _conv,
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    "QLinearLeakyRelu": _unary("LeakyRelu"),
    "QLinearMatMul": _matmul,
    "QLinearMul": _binary("Mul"),
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearSoftmax": _unary("Softmax"),
}
