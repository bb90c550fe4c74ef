"""What a linear layer multiplies: its input as rows of the numbers that one output element reads."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError
from bitsmith.ir.graph import Node
from bitsmith.ir.linear import output_axis, weight_value
from bitsmith.ir.shapes import windows

FloatArray = npt.NDArray[np.float32]


def patch_shape(node: Node) -> tuple[int, int]:
    """(groups, k): how many groups a linear node has, and how many inputs an output element of each reads."""
    weight = _weight_shape(node)
    return int(node.attribute("group", 1)), math.prod(weight) // weight[output_axis(node)]


def patches(node: Node, x: FloatArray) -> FloatArray:
    """The rows that a linear node multiplies, for its input x: (groups, rows, k), newly made.

    For a Conv, rows are samples x output positions and k counts in-channel, then kernel (its weight's order),
    with zeros where a window reaches into the padding. For a Gemm or MatMul, k is the last axis of x.
    """
    groups, length = patch_shape(node)
    if node.op != "Conv":
        return np.array(x.reshape(1, -1, length), order="C")
    read = _view_of_windows(node, x)
    spatial = x.ndim - 2
    # (n, groups, channels, *out, *kernel) -> (groups, n, *out, channels, *kernel): the copy is im2col.
    split = read.reshape(len(x), groups, x.shape[1] // groups, *read.shape[2:])
    order = (1, 0, *range(3, 3 + spatial), 2, *range(3 + spatial, 3 + 2 * spatial))
    return np.array(split.transpose(order), order="C").reshape(groups, -1, length)


def _view_of_windows(node: Node, x: FloatArray) -> FloatArray:
    """A view of padded x, (n, channels, *space), as (n, channels, *out, *kernel)."""
    spatial = x.ndim - 2
    if node.attribute("auto_pad", "NOTSET") != "NOTSET":
        raise InternalError("padding that is not spelled out", where=node.where, fix="Run explicit-padding.")
    kernel = _weight_shape(node)[2:]
    steps = node.attribute("strides", [1] * spatial)
    dilations = node.attribute("dilations", [1] * spatial)
    pads = node.attribute("pads", [0] * 2 * spatial)
    padded = np.pad(x, [(0, 0), (0, 0), *zip(pads[:spatial], pads[spatial:], strict=True)])
    out = windows(padded.shape[2:], kernel, steps, [0] * 2 * spatial, dilations)
    across, down, *space = padded.strides
    return np.ndarray(
        (*padded.shape[:2], *out, *kernel),
        np.float32,
        padded,
        strides=(
            across,
            down,
            *(step * stride for step, stride in zip(steps, space, strict=True)),
            *(dilation * stride for dilation, stride in zip(dilations, space, strict=True)),
        ),
    )


def _weight_shape(node: Node) -> tuple[int, ...]:
    weight = weight_value(node).constant
    if weight is None:
        raise InternalError("a linear op without a constant weight", where=node.where)
    return weight.shape


def patch_bytes(node: Node) -> int:
    """How much memory the patches of one sample take."""
    if node.op != "Conv":
        return math.prod(node.operand(0).sample_shape) * 4
    groups, length = patch_shape(node)
    return groups * length * math.prod(node.output.sample_shape[1:]) * 4
