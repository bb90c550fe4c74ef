"""Take the mean of the weights' rounding error out of every layer's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.errors import PipelineError
from bitsmith.ir.graph import Node
from bitsmith.ir.linear import bias_value, linear_nodes, output_axis, weight_value
from bitsmith.ir.moments import Vector
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module


@dataclass(frozen=True)
class CorrectBiases(Pass):
    """b' = b - (W_q - W) E[x], so that rounded weights leave the mean of a layer's output where it was.

    (Nagel et al. 2019, arXiv:1906.04721, section 4.2.1.) E[x] is the mean of each input channel in the statistics:
    analytic where estimate-statistics made them, empirical where data was seen. Weights stay as they are; their
    formats must be decided. Near borders, where padding supplies zeros, the mean is smaller than E[x].
    """

    name: ClassVar[str] = "correct-biases"
    preserves: ClassVar[bool] = False

    def run(self, module: Module) -> Changes:
        changes = Changes()
        largest = 0.0
        for node in linear_nodes(module.graph):
            reason = _refusal(node, module)
            if reason is not None:
                changes.refuse(node, reason)
                continue
            moved = _correction(node, module)
            bias = bias_value(node)
            assert bias is not None
            assert bias.constant is not None
            bias.constant = (bias.constant - moved.reshape(bias.constant.shape)).astype(np.float32)
            largest = max(largest, float(np.abs(moved).max()))
            changes.change(node)
        if changes.made:
            changes.note(f"biases moved by {largest:.3g} at most")
        return changes


def _refusal(node: Node, module: Module) -> str | None:
    if weight_value(node).name not in module.plan:
        raise PipelineError(
            f"{weight_value(node).name} has no format yet",
            where=node.where,
            fix="Put quantize-weights before correct-biases.",
        )
    if bias_value(node) is None:
        return "it has no bias"
    if node.op == "MatMul":
        return "means are known along axis 1, and its features lie along the last"
    channels = module.require_statistics().of(node.operand(0).name).channel_mean.shape
    expected = node.operand(0).shape[1]
    return None if channels == (expected,) else f"means of {channels} channels where {expected} are multiplied"


def _correction(node: Node, module: Module) -> Vector:
    """(W_q - W) E[x], float64 (output channels,)."""
    weight = weight_value(node).array
    assert output_axis(node) == 0
    chosen = module.plan[weight_value(node).name]
    error = chosen.dequantize(chosen.quantize(weight)).astype(np.float64) - weight.astype(np.float64)
    groups = int(node.attribute("group", 1)) if node.op == "Conv" else 1
    mean = module.require_statistics().of(node.operand(0).name).channel_mean.reshape(groups, -1)
    apart = error.reshape(groups, len(error) // groups, error.shape[1], -1).sum(axis=3)
    moved: Vector = np.einsum("goi,gi->go", apart, mean).ravel()
    return moved
