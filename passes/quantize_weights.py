"""Decide the format of every weight and bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.errors import PipelineError
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.graph import Node
from bitsmith.ir.linear import LINEAR, bias_value, output_axis, weight_value
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module

LARGEST_BIAS = 1 << 30
"""A bias may fill half of its int32 accumulator; the products need the other half."""

SMALLEST_CHANNEL = 2.0**-16
"""No channel's scale falls further below the layer's largest: channels share one requantize shift, and a
multiplier of 15 bits keeps a large bias over tiny weights exact to a small part of an 8-bit step."""


@dataclass(frozen=True)
class QuantizeWeights(Pass):
    """Give each weight of Conv, Gemm and MatMul a symmetric format, and its bias the accumulator's.

    The scale is max|w| / (2^(bits-1) - 1), per output channel or for the whole tensor: the grid is
    [-(2^(bits-1) - 1), 2^(bits-1) - 1], which kernels that pair products rely on. A bias gets 32 bits at
    input scale x weight scale, so that it adds to the accumulator as it is (Jacob et al. 2017,
    arXiv:1712.05877, equation 11); a channel whose bias would not fit gets a larger scale.

    bits:        of every weight.
    granularity: channel or tensor.
    """

    name: ClassVar[str] = "quantize-weights"

    bits: int = 8
    granularity: str = "channel"

    def run(self, module: Module) -> Changes:
        target = module.target
        if self.bits not in target.weight_bits:
            raise PipelineError(
                f"{self.bits}-bit weights",
                where=f"target {target.name}",
                fix=f"It runs {', '.join(map(str, target.weight_bits))} bits.",
            )
        if self.granularity not in target.granularities:
            raise PipelineError(
                f"weights per {self.granularity}",
                where=f"target {target.name}",
                fix=f"It runs weights per {' or per '.join(target.granularities)}.",
            )
        changes = Changes()
        for node in module.graph.nodes(*LINEAR):
            module.plan = module.plan.with_formats(self._formats(node, module))
            changes.change(node)
        return changes

    def _formats(self, node: Node, module: Module) -> dict[str, Format]:
        weight, bias = weight_value(node), bias_value(node)
        if weight.constant is None:
            raise PipelineError("a weight that is not constant", where=node.where)
        axis = output_axis(node)
        input_scale = module.plan[node.operand(0).name].scale[0]
        kind = IntegerType(self.bits)
        magnitudes = np.abs(np.moveaxis(weight.constant, axis, 0).reshape(weight.constant.shape[axis], -1)).max(axis=1)
        scales = self._scales(magnitudes.astype(np.float64) / kind.highest)
        if bias is not None and bias.constant is not None:
            scales = self._fit_bias(scales, np.abs(bias.constant.astype(np.float64).ravel()) / input_scale)
        formats = {weight.name: Format(kind, tuple(scales), axis=axis if len(scales) > 1 else None)}
        if bias is not None:
            products = tuple(input_scale * scale for scale in formats[weight.name].scale)
            formats[bias.name] = Format(IntegerType(32), products, axis=0 if len(products) > 1 else None)
        return formats

    def _scales(self, scales: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        largest = float(scales.max())
        if largest == 0.0:
            return np.ones_like(scales) if self.granularity == "channel" else np.ones(1)
        if self.granularity == "tensor":
            return np.array([largest])
        return np.maximum(scales, largest * SMALLEST_CHANNEL)

    def _fit_bias(self, scales: npt.NDArray[np.float64], bias: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        needed = bias / LARGEST_BIAS
        return np.maximum(scales, needed if len(scales) == len(needed) else needed.max())
