"""Decide the format of every weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from bitsmith import registry
from bitsmith.errors import PipelineError
from bitsmith.ir.formats import Format, IntegerType, holding
from bitsmith.ir.graph import Node
from bitsmith.ir.grids import FORMATS, INTEGERS, TERNARY, TERNARY_BITS, Grid, Grouped, offset
from bitsmith.ir.linear import SMALLEST_CHANNEL, linear_nodes, output_axis, weight_value
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.rounding.fit import fit
from bitsmith.passes.rounding.layer import rows_of

WHOLE_RANGE = 8
"""From so many bits on, a scale covers the largest weight: clipping it would gain next to nothing."""


@dataclass(frozen=True)
class QuantizeWeights(Pass):
    """Give each weight of Conv, Gemm and MatMul a symmetric format.

    At 8 bits the scale is max|w| / 127, per output channel or for the whole tensor: the grid is [-127, 127], which
    kernels that pair products rely on (Jacob et al. 2017, arXiv:1712.05877, section 3). Of fewer bits it is the one
    that loses least to rounding and clipping together, by squared error over the weights (Banner et al. 2018,
    arXiv:1810.05723). With 2 bits each channel's grid is -2..1 or -1..2, whichever suits it.

    bits:        of every weight, but for those that the module's allocation names: they are integers of its bits, or
                 ternary where it says 1.6.
    granularity: channel or tensor.
    format:      int, or a grid of some integers only: ternary, codebook (2^bits entries), powers, power-sums, and the
                 minifloats e4m3, e5m2, e3m2, e2m3 and e2m1 (see compiler/ir/grids.py).
    group:       how many inputs share a multiplier on top of their channel's scale; 0 for none.
    scales:      free, or power-of-two.
    """

    name: ClassVar[str] = "quantize-weights"

    bits: int = 8
    granularity: str = "channel"
    format: str = INTEGERS
    group: int = 0
    scales: str = "free"

    def run(self, module: Module) -> Changes:
        self._check(module)
        changes = Changes()
        allocated = {} if module.allocation is None else module.allocation.weights
        nodes = linear_nodes(module.graph)
        _require_known(allocated, nodes)
        for node in nodes:
            weight = weight_value(node)
            options = self
            if weight.name in allocated:
                options = self.of_width(allocated[weight.name])
                if options.format == TERNARY.kind:
                    self._check_ternary(weight.name, module)
                options._check(module)
            module.plan = module.plan.with_formats({weight.name: options._chosen(node)})
            changes.change(node)
        return changes

    def of_width(self, bits: float) -> QuantizeWeights:
        """The same for a width that an allocation says."""
        if bits == TERNARY_BITS:
            return replace(self, bits=TERNARY.bits, format=TERNARY.kind)
        return replace(self, bits=int(bits), format=INTEGERS)

    def _check_ternary(self, name: str, module: Module) -> None:
        """Refuse ternary weights in an allocation for what does not have them."""
        told = f"{name} is to have ternary weights ({TERNARY_BITS} bits)"
        if TERNARY_BITS not in module.target.weight_widths:
            raise PipelineError(
                told,
                where=f"target {module.target.name}",
                fix=f"It runs {', '.join(map(str, module.target.weight_bits))} bits.",
            )
        if self.group:
            raise PipelineError(
                f"{told}, which have no groups of {self.group}",
                where=f"pass {self.name}",
                fix="Give it 2 bits or more, or leave the groups out.",
            )

    def _check(self, module: Module) -> None:
        target, where = module.target, f"pass {self.name}"
        width = self._grid(1).bits if self.format != INTEGERS else self.bits
        if width not in target.weight_bits:
            raise PipelineError(
                f"{width}-bit weights",
                where=f"target {target.name}",
                fix=f"It runs {', '.join(map(str, target.weight_bits))} bits.",
            )
        if self.granularity not in target.granularities:
            raise PipelineError(
                f"weights per {self.granularity}",
                where=f"target {target.name}",
                fix=f"It runs weights per {' or per '.join(target.granularities)}.",
            )
        if self.scales not in ("free", "power-of-two"):
            raise PipelineError(f"scales={self.scales}", where=where, fix="Give free or power-of-two.")
        if self.group < 0 or (self.group and self.format != INTEGERS):
            raise PipelineError(
                f"group={self.group} with format={self.format}", where=where, fix="Groups are of integers, 1 or more."
            )
        if self.group and self.granularity != "channel":
            raise PipelineError(
                f"group={self.group} with granularity={self.granularity}",
                where=where,
                fix="A group's multiplier stands beside its channel's scale: give granularity=channel.",
            )

    def _chosen(self, node: Node) -> Format:
        rows = rows_of(node)
        is_shared = self.granularity == "tensor" or rows.shape[0] * rows.shape[1] == 1
        channels = 1 if is_shared else rows.shape[0] * rows.shape[1]
        axis = None if is_shared else output_axis(node)
        largest = np.maximum(rows.max(axis=2), -rows.min(axis=2)).ravel()
        if is_shared or not largest.any():
            largest = np.full(channels, largest.max() or 1.0)
        kind = IntegerType(self.bits)
        covering = np.maximum(largest, largest.max() * SMALLEST_CHANNEL) / kind.highest
        plain = Format(kind, tuple(covering), axis=axis)
        if self.format == INTEGERS and not self.group:
            if self.scales == "free" and self.bits >= WHOLE_RANGE:
                return plain
            if self.bits > 2:
                return self._fitted(rows, plain)
        grid = self._grid(channels, rows.shape[2])
        return self._fitted(rows, replace(plain, grid=grid, type=holding(grid.lowest, grid.highest)))

    def _fitted(self, rows: np.ndarray[tuple[int, ...], np.dtype[np.float64]], kind: Format) -> Format:
        """The format of this kind that loses least where all inputs matter alike."""
        alike = np.broadcast_to(np.eye(rows.shape[2]), (rows.shape[0], rows.shape[2], rows.shape[2]))
        return fit(rows, alike, kind, solver="nearest", power_of_two=self.scales == "power-of-two").format

    def _grid(self, channels: int, inputs: int = 1) -> Grid:
        if self.format != INTEGERS:
            if self.format not in FORMATS:
                fix = registry.suggest(self.format, [INTEGERS, *FORMATS])
                raise PipelineError(f"there is no format {self.format}", where=f"pass {self.name}", fix=fix)
            return FORMATS[self.format](self.bits)
        if self.group:
            return Grouped(self.bits, self.group, ((1,) * -(-inputs // self.group),) * channels)
        return offset(self.bits, (False,) * channels)


def _require_known(allocated: Mapping[str, float], nodes: list[Node]) -> None:
    """Refuse an allocation for weights that the model does not have."""
    names = [weight_value(node).name for node in nodes]
    for name in allocated:
        if name not in names:
            raise PipelineError(
                f"there is no weight {name}", where="allocation, weights", fix=registry.suggest(name, names)
            )
