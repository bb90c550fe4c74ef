"""A linear layer's weight and outputs as the (groups, rows, k) that moments and rounding work on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError
from bitsmith.execution.patches import patch_shape
from bitsmith.ir.graph import Node
from bitsmith.ir.linear import output_axis, weight_value
from bitsmith.passes.rounding.problem import Reals

FloatArray = npt.NDArray[np.float32]


def rows_of(node: Node) -> Reals:
    """The weight as float64 (groups, rows, k): output channels of each group by the inputs of one output element."""
    weight = weight_value(node).constant
    if weight is None:
        raise InternalError("a weight that is not constant", where=node.where)
    groups, length = patch_shape(node)
    real = weight.astype(np.float64)
    return (real.T if output_axis(node) == 1 else real).reshape(groups, -1, length)


def put_rows(node: Node, rows: npt.NDArray[np.floating]) -> None:
    """Let the weight hold these (groups, rows, k), as float32."""
    weight_value(node).constant = weight_of(node, rows)


def weight_of(node: Node, rows: npt.NDArray[np.floating]) -> FloatArray:
    """These (groups, rows, k) in the order and the shape of the weight, as float32."""
    weight = weight_value(node).constant
    if weight is None:
        raise InternalError("a weight that is not constant", where=node.where)
    flat = rows.reshape(-1, rows.shape[-1])
    turned = flat.T if output_axis(node) == 1 else flat
    return np.asarray(turned.reshape(weight.shape), dtype=np.float32)


def outputs_by_group(node: Node, outputs: FloatArray) -> FloatArray:
    """What a linear node makes of a batch as (groups, n, rows), in the order of `patches`."""
    if node.op != "Conv":
        return outputs.reshape(1, -1, outputs.shape[-1])
    groups, _ = patch_shape(node)
    samples, channels = outputs.shape[:2]
    apart = outputs.reshape(samples, groups, channels // groups, -1).transpose(1, 0, 3, 2)
    return np.ascontiguousarray(apart).reshape(groups, -1, channels // groups)
