"""One function per operation: the float ops between DequantizeLinear and QuantizeLinear that stand for it.

ORT 1.31 turns these groups into integer kernels (the left-hand sides are what is written):

    Conv -> QLinearConv          Gemm -> QGemm              Add, Mul -> QLinearAdd, QLinearMul
    MatMul -> QLinearMatMul
    AveragePool, GlobalAveragePool, Sigmoid, LeakyRelu -> QLinear...

It has no integer kernel for a Sub, nor for the other functions of one value, which run in float between the two.
Operations that move elements are written on the integers themselves (`movement`): nothing is left to fuse.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bitsmith.backends.onnxruntime.movement import lower_movement, reshaped
from bitsmith.backends.onnxruntime.pooling import lower_average_pool
from bitsmith.backends.onnxruntime.ratios import expect_ratio
from bitsmith.backends.onnxruntime.weights import write_weight
from bitsmith.backends.onnxruntime.writer import Writer, scales_of
from bitsmith.ir.integer import (
    Add,
    AveragePool,
    Conv,
    InterpolatedTable,
    LayerNorm,
    Linear,
    MatMul,
    Mul,
    Operation,
    Softmax,
    Table,
    Thresholds,
    Value,
)

SAME = 1e-6
"""Part of a scale that multipliers and float32 may be off by."""


def lower(writer: Writer, operation: Operation) -> None:
    """Write `operation`, whose operands are written, and say which tensor holds its result."""
    match operation:
        case Conv():
            lower_conv(writer, operation)
        case Linear():
            lower_linear(writer, operation)
        case Add():
            lower_add(writer, operation)
        case Mul():
            lower_mul(writer, operation)
        case MatMul():
            lower_matmul(writer, operation)
        case Softmax():
            lower_softmax(writer, operation)
        case LayerNorm():
            lower_layer_norm(writer, operation)
        case AveragePool():
            lower_average_pool(writer, operation)
        case Table() | InterpolatedTable():
            lower_table(writer, operation)
        case _:
            lower_movement(writer, operation)


def lower_conv(writer: Writer, operation: Conv) -> None:
    """A Conv, whose zero padding is in reals and so the zero point in integers."""
    result = writer.node(
        "Conv",
        [writer.reals(operation.inputs[0]), *_parameters(writer, operation)],
        operation.name,
        kernel_shape=list(operation.weight.shape[2:]),
        strides=list(operation.strides),
        pads=list(operation.pads),
        dilations=list(operation.dilations),
        group=operation.groups,
    )
    writer.quantize(operation.output, result, operation.requantize)


def lower_linear(writer: Writer, operation: Linear) -> None:
    """A Gemm, which takes matrices only: samples of higher rank are unrolled into rows before, and rolled after.

    A MatMul would take them as they are, but ORT fuses its bias into no integer kernel.
    """
    (x,) = writer.graph.operands(operation)
    is_matrix = len(x.shape) == 1
    real = writer.reals(x.name) if is_matrix else _rows(writer, operation, x)
    result = writer.node("Gemm", [real, *_parameters(writer, operation)], operation.name, transB=1)
    writer.quantize(operation.output, result, operation.requantize)
    if not is_matrix:
        shape = [-1, *writer.graph.result(operation).shape]
        rolled = reshaped(writer, operation, "samples", writer.integers(operation.output), shape)
        writer.keep(operation.output, rolled)


def _rows(writer: Writer, operation: Linear, x: Value) -> str:
    """`x` as a float matrix, whose rows are along its last axis."""
    rows = reshaped(writer, operation, "rows", writer.integers(x.name), [-1, x.shape[-1]])
    return writer.node("DequantizeLinear", [rows, *writer.parameters(x.name)], f"{operation.name}_rows_dequantize")


def _parameters(writer: Writer, operation: Conv | Linear) -> list[str]:
    """The dequantized weight and bias. The bias' scale must be input scale x weight scale, or ORT fuses nothing."""
    (x,) = writer.graph.operands(operation)
    weight_scales, input_scale = scales_of(operation.weight_format), np.float32(x.format.scale[0])
    ratio = weight_scales.astype(np.float64) * x.format.scale[0] / writer.graph.result(operation).format.scale[0]
    expect_ratio(operation, operation.requantize.multiplier.ravel(), operation.requantize.shift, ratio)
    return [
        write_weight(writer, operation),
        writer.weight(operation, "bias", operation.bias, weight_scales * input_scale),
    ]


def lower_add(writer: Writer, operation: Add) -> None:
    """Add, or Sub where a multiplier is negative."""
    operands, result = writer.graph.operands(operation), writer.graph.result(operation)
    ratios = [value.format.scale[0] / result.format.scale[0] for value in operands]
    magnitudes = [abs(multiplier) for multiplier in operation.multipliers]
    expect_ratio(operation, magnitudes, operation.requantize.shift, ratios)
    left, right = (writer.reals(name) for name in operation.inputs)
    if operation.multipliers[0] < 0 <= operation.multipliers[1]:
        total = writer.node("Sub", [right, left], operation.name)
    elif operation.multipliers[0] < 0:
        total = writer.node("Sub", [writer.node("Neg", [left], f"{operation.name}_negated"), right], operation.name)
    else:
        total = writer.node("Add" if operation.multipliers[1] >= 0 else "Sub", [left, right], operation.name)
    writer.quantize(operation.output, total, operation.requantize)


def lower_mul(writer: Writer, operation: Mul) -> None:
    """A Mul of two values, or of one and a constant."""
    left, right = writer.graph.operands(operation)
    ratio = left.format.scale[0] * right.format.scale[0] / writer.graph.result(operation).format.scale[0]
    expect_ratio(operation, operation.requantize.multiplier, operation.requantize.shift, ratio)
    product = writer.node("Mul", [writer.reals(left.name), writer.reals(right.name)], operation.name)
    writer.quantize(operation.output, product, operation.requantize)


def lower_matmul(writer: Writer, operation: MatMul) -> None:
    """A MatMul of two values. A number that scales the product is in the ratio, and here in the left operand's scale.

    So the ratio cannot be wrong, and ORT makes a QLinearMatMul of it as of any other.
    """
    left, right = writer.graph.operands(operation)
    result, rule = writer.graph.result(operation), operation.requantize
    ratio = np.ldexp(float(rule.multiplier.flat[0]), -rule.shift)
    unit = 1.0 if operation.levels is None else float(operation.levels[0])
    scale = np.float32(ratio * unit * result.format.scale[0] / right.format.scale[0])
    if operation.levels is not None:
        real = writer.powers(left.name, operation.levels / unit * scale)
    elif abs(float(scale) / left.format.scale[0] - 1) < SAME:
        real = writer.reals(left.name)
    else:
        parameters = [writer.constant(f"{operation.name}_scale", scale), writer.parameters(left.name)[1]]
        real = writer.node(
            "DequantizeLinear", [writer.integers(left.name), *parameters], f"{operation.name}_scaled_dequantize"
        )
    product = writer.node("MatMul", [real, writer.reals(right.name)], operation.name)
    writer.quantize(operation.output, product, rule)


def lower_softmax(writer: Writer, operation: Softmax) -> None:
    """A Softmax in float, as the exponential of a LogSoftmax.

    Of a Softmax between the two ORT 1.31 makes a QLinearSoftmax, which rounds otherwise than the reals, and gives a
    result beyond its grid the integer at the other end.
    """
    (x,), result = writer.graph.operands(operation), writer.graph.result(operation)
    rule = operation.requantize
    logarithms = writer.node("LogSoftmax", [writer.reals(x.name)], f"{operation.name}_logarithms", axis=len(x.shape))
    if isinstance(rule, Thresholds):
        writer.quantize_powers(operation.output, writer.node("Neg", [logarithms], operation.name))
        return
    expect_ratio(operation, rule.multiplier, rule.shift, 2.0**-30 / result.format.scale[0])
    writer.quantize(operation.output, writer.node("Exp", [logarithms], operation.name), rule)


def lower_layer_norm(writer: Writer, operation: LayerNorm) -> None:
    """A LayerNormalization in float, its gain, offset and epsilon read back from the integers."""
    (x,), result = writer.graph.operands(operation), writer.graph.result(operation)
    step, shift = result.format.scale[0], operation.requantize.shift
    gain = np.ldexp(operation.gain * step, operation.fraction - shift).astype(np.float32)
    offset = np.ldexp(operation.offset * step, -shift).astype(np.float32)
    made = writer.node(
        "LayerNormalization",
        [
            writer.reals(x.name),
            writer.constant(f"{operation.name}_gain", gain),
            writer.constant(f"{operation.name}_offset", offset),
        ],
        operation.name,
        axis=len(x.shape),
        epsilon=operation.epsilon * (x.format.scale[0] / (x.shape[-1] << operation.finer)) ** 2,
    )
    writer.quantize(operation.output, made, operation.requantize)


def lower_table(writer: Writer, operation: Table | InterpolatedTable) -> None:
    """The function itself. QuantizeLinear's own rounding takes the place of the table's."""
    function = operation.function
    constants = [
        writer.constant(f"{operation.name}_constant", np.array(values, dtype=np.float32).reshape(shape))
        for shape, values in function.constants
    ]
    operands = [writer.reals(operation.inputs[0]), *constants]
    result = writer.node(function.op, operands, operation.name, **dict[str, Any](function.attributes))
    writer.quantize(operation.output, result)
