"""Decide the format of every bias, which is its accumulator's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from bitsmith.errors import PipelineError
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.graph import Node
from bitsmith.ir.linear import bias_value, linear_nodes, weight_value
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module

LARGEST_BIAS = 1 << 30
"""A bias may fill half of its int32 accumulator; the products need the other half."""


@dataclass(frozen=True)
class QuantizeBiases(Pass):
    """Give each bias 32 bits at input scale x weight scale, so that it adds to the accumulator as it is.

    (Jacob et al. 2017, arXiv:1712.05877, equation 11.) A channel whose bias would not fit gets a larger weight
    scale: next to such a bias its weights are too small to matter.
    """

    name: ClassVar[str] = "quantize-biases"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        for node in linear_nodes(module.graph):
            for name in (node.operand(0).name, weight_value(node).name):
                if name not in module.plan:
                    raise PipelineError(
                        f"{name} has no format yet",
                        where=node.where,
                        fix="Put quantize-weights and quantize-activations before quantize-biases.",
                    )
            formats = self._formats(node, module)
            module.plan = module.plan.with_formats(formats)
            if formats:
                changes.change(node)
        return changes

    def _formats(self, node: Node, module: Module) -> dict[str, Format]:
        bias, weight = bias_value(node), module.plan[weight_value(node).name]
        if bias is None or bias.constant is None:
            return {}
        input_scale = module.plan[node.operand(0).name].scale[0]
        needed = np.abs(bias.constant.astype(np.float64).ravel()) / input_scale / LARGEST_BIAS
        scales = np.maximum(weight.scale, needed if weight.is_per_channel else needed.max())
        fitting = replace(weight, scale=tuple(np.atleast_1d(scales)))
        products = tuple(input_scale * scale for scale in fitting.scale)
        # Along a bias' last axis: a Gemm's is a vector, a MatMul's Add may have axes of 1 in front.
        axis = bias.constant.ndim - 1 if weight.is_per_channel else None
        return {weight_value(node).name: fitting, bias.name: Format(IntegerType(32), products, axis=axis)}
