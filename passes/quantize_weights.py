"""Decide the format of every weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.errors import PipelineError
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.linear import LINEAR, output_axis, weight_value
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module

SMALLEST_CHANNEL = 2.0**-16
"""No channel's scale falls further below the layer's largest: channels share one requantize shift, and a
multiplier of 15 bits keeps a large bias over tiny weights exact to a small part of an 8-bit step."""


@dataclass(frozen=True)
class QuantizeWeights(Pass):
    """Give each weight of Conv, Gemm and MatMul a symmetric format.

    The scale is max|w| / (2^(bits-1) - 1), per output channel or for the whole tensor: the grid is
    [-(2^(bits-1) - 1), 2^(bits-1) - 1], which kernels that pair products rely on (Jacob et al. 2017,
    arXiv:1712.05877, section 3).

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
            weight = weight_value(node)
            if weight.constant is None:
                raise PipelineError("a weight that is not constant", where=node.where)
            chosen = self._format(weight.constant, output_axis(node))
            module.plan = module.plan.with_formats({weight.name: chosen})
            changes.change(node)
        return changes

    def _format(self, weight: npt.NDArray[np.float32], axis: int) -> Format:
        kind = IntegerType(self.bits)
        channels = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
        scales = np.abs(channels).max(axis=1).astype(np.float64) / kind.highest
        largest = float(scales.max())
        if largest == 0.0:
            scales = np.ones_like(scales)
        if self.granularity == "tensor" or len(scales) == 1:
            return Format(kind, (float(scales.max()),))
        return Format(kind, tuple(np.maximum(scales, largest * SMALLEST_CHANNEL)), axis=axis)
