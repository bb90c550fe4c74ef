"""Conv, Gemm and MatMul by a constant, to Conv and Linear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError
from bitsmith.ir.formats import Format
from bitsmith.ir.fusion import group_output
from bitsmith.ir.graph import Node
from bitsmith.ir.integer import Conv, Linear
from bitsmith.ir.linear import bias_value, output_axis, weight_value
from bitsmith.passes.integerize.build import Build


def lower_conv(build: Build, node: Node) -> None:
    """Conv, over one or two spatial axes."""
    weight, weight_format, bias = _parameters(build, node)
    spatial = weight.ndim - 2
    ratio = _ratio(build, node, weight_format).reshape(-1, *[1] * spatial)
    build.add(
        Conv(
            node.name,
            (build.operand(node.operand(0)),),
            build.group_result(node),
            weight=weight_format.quantize(weight),
            bias=bias,
            weight_format=weight_format,
            strides=tuple(node.attribute("strides", [1] * spatial)),
            pads=tuple(node.attribute("pads", [0] * 2 * spatial)),
            dilations=tuple(node.attribute("dilations", [1] * spatial)),
            groups=int(node.attribute("group", 1)),
            requantize=build.requantize(node, ratio),
        )
    )


def lower_matrix_product(build: Build, node: Node) -> None:
    """Gemm, or MatMul by a constant with the bias that follows it: one product over the last axis."""
    weight, weight_format, bias = _parameters(build, node)
    integers = weight_format.quantize(weight)
    if output_axis(node) == 1:
        integers = integers.T
        weight_format = replace(weight_format, axis=None if weight_format.axis is None else 0)
    build.add(
        Linear(
            node.name,
            (build.operand(node.operand(0)),),
            build.group_result(node),
            weight=integers,
            bias=bias,
            weight_format=weight_format,
            requantize=build.requantize(node, _ratio(build, node, weight_format)),
        )
    )


def _parameters(build: Build, node: Node) -> tuple[npt.NDArray[np.float32], Format, npt.NDArray[np.int32]]:
    """The float weight, its format, and the bias as integers of the accumulator."""
    weight, bias = weight_value(node), bias_value(node)
    if weight.constant is None:
        raise InternalError("a weight that is not constant", where=node.where)
    channels = weight.constant.shape[output_axis(node)]
    if bias is None or bias.constant is None:
        integers = np.zeros(channels, np.int32)
    else:
        integers = build.format(bias).quantize(bias.constant).ravel().astype(np.int32)
    return weight.constant, build.format(weight), integers


def _ratio(build: Build, node: Node, weight_format: Format) -> npt.NDArray[np.float64]:
    """input scale x weight scale / output scale: one per output channel, or one for all."""
    input_scale = build.format(node.operand(0)).scale[0]
    output_scale = build.format(group_output(node)).scale[0]
    return input_scale * np.array(weight_format.scale, dtype=np.float64) / output_scale
