"""Round weights so that the outputs of their layer move least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith import registry
from bitsmith.errors import PipelineError
from bitsmith.ir.formats import Format
from bitsmith.ir.graph import Node
from bitsmith.ir.linear import LINEAR, bias_value, output_axis, weight_value
from bitsmith.ir.statistics import Gram
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.rounding import SOLVERS
from bitsmith.passes.rounding.nearest import nearest
from bitsmith.passes.rounding.problem import Integers, Reals, Rounding


@dataclass(frozen=True)
class RoundWeights(Pass):
    """Put each weight of Conv, Gemm and MatMul on its grid: the integers v that minimise (w - s*v) H (w - s*v)^T.

    H is the covariance of the layer's inputs on the calibration data, and b' = b + (w - s*v) mean(x) takes the
    mean of the error out of the outputs exactly (bias correction; Nagel et al. 2019, arXiv:1906.04721,
    section 4.2). A layer without a bias has H = mean of x x^T. A row keeps its nearest integers where the
    solver's are not better.

    solver:  gptq, comq or nearest.
    damping: part of H's mean diagonal added to its diagonal, above 0 and at most 1.
    """

    name: ClassVar[str] = "round-weights"
    preserves: ClassVar[bool] = False

    solver: str = "gptq"
    damping: float = 0.01

    def run(self, module: Module) -> Changes:
        if self.solver not in SOLVERS:
            fix = registry.suggest(self.solver, SOLVERS)
            raise PipelineError(f"there is no solver {self.solver}", where=f"pass {self.name}", fix=fix)
        if not 0 < self.damping <= 1:
            raise PipelineError(
                f"damping={self.damping}", where=f"pass {self.name}", fix="Give more than 0 and at most 1."
            )
        changes = Changes()
        before = after = 0.0
        for node in module.graph.nodes(*LINEAR):
            gram, chosen = self._gram(node, module), self._format(node, module)
            losses = self._round(node, gram, chosen)
            before, after = before + losses[0], after + losses[1]
            changes.change(node)
        if before > 0 and after > 0:
            gain = 10 * np.log10(before / after)
            changes.note(f"squared error of the layers' outputs: {gain:.2f} dB below that of nearest rounding")
        return changes

    def _gram(self, node: Node, module: Module) -> Gram:
        grams = module.require_statistics().grams
        if node.output.name not in grams:
            raise PipelineError(
                "calibration took no second moments of this layer's inputs",
                where=node.where,
                fix="Put calibrate{grams=true} before round-weights, after the passes that rewrite the graph.",
            )
        return grams[node.output.name]

    def _format(self, node: Node, module: Module) -> Format:
        name = weight_value(node).name
        if name not in module.plan:
            raise PipelineError(
                f"{name} has no format yet", where=node.where, fix="Put quantize-weights before round-weights."
            )
        return module.plan[name]

    def _round(self, node: Node, gram: Gram, chosen: Format) -> tuple[float, float]:
        """Round one layer; the loss of its nearest integers and of those chosen."""
        weight, bias = weight_value(node), bias_value(node)
        assert weight.constant is not None
        real = weight.constant.astype(np.float64)
        rows = _rows(real, node)
        scale = np.broadcast_to(np.asarray(chosen.scale, dtype=np.float64), len(rows))
        moments = gram.matrix
        if bias is None:
            moments = moments + gram.mean[:, :, None] * gram.mean[:, None, :]
        before = after = 0.0
        integers = np.empty(rows.shape, np.int64)
        for part, matrix in zip(np.split(np.arange(len(rows)), len(moments)), moments, strict=True):
            problem = Rounding(rows[part], matrix, scale[part], -chosen.type.highest, chosen.type.highest)
            plain, integers[part] = nearest(problem), self._solve(problem)
            before += float(problem.loss(plain).sum())
            after += float(problem.loss(integers[part]).sum())
        placed = integers.T if output_axis(node) == 1 else integers
        rounded = chosen.dequantize(placed.reshape(real.shape))
        if bias is not None and bias.constant is not None:
            error = _rows(real - rounded, node).reshape(len(moments), -1, rows.shape[1])
            correction = np.einsum("grk,gk->gr", error, gram.mean).reshape(bias.constant.shape)
            bias.constant = (bias.constant + correction).astype(np.float32)
        weight.constant = rounded
        return before, after

    def _solve(self, problem: Rounding) -> Integers:
        """The solver's integers, or the nearest ones in rows where those are as good."""
        plain = nearest(problem)
        learned = SOLVERS[self.solver](problem.damped(self.damping))
        better = problem.loss(learned) < problem.loss(plain)
        return np.where(better[:, None], learned, plain)


def _rows(weight: npt.NDArray[np.float64], node: Node) -> Reals:
    """The weight as (output channels, inputs of one output element)."""
    return weight.T if output_axis(node) == 1 else weight.reshape(len(weight), -1)
