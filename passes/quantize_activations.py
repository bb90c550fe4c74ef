"""Decide the format of every activation from what calibration saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bitsmith.errors import PipelineError
from bitsmith.execution.simulate import divergences
from bitsmith.ir.formats import Format, IntegerType, affine, symmetric
from bitsmith.ir.fusion import bias_of, materialised
from bitsmith.ir.graph import Graph, Value
from bitsmith.ir.sharing import format_groups
from bitsmith.manager import Changes, Pass
from bitsmith.module import NOISE, Module
from bitsmith.observers import AUTO, CANDIDATES, choose_range

TRIAL_SAMPLES = 128


@dataclass(frozen=True)
class QuantizeActivations(Pass):
    """Give each activation a per-tensor format whose grid covers the range that an observer chose.

    Values between which elements only move (Concat, Reshape, pools by maximum...) share the format that covers
    them all. Asymmetric formats follow Jacob et al. 2017 (arXiv:1712.05877, section 3). Symmetric ones have
    zero point 0, and are unsigned where no sample was negative, so that no half of the grid lies idle.
    Constant operands of Add, Mul and Concat are values like any other.

    bits:      of every activation, the graph's inputs and outputs included.
    observer:  how the range is chosen: min-max, percentile, mse or kl; or auto, which tries the first three on some
               calibration samples and keeps the one that moves the outputs least (Kullback-Leibler divergence, as
               ZeroQ has it, arXiv:2001.00281, equation 2). No one of them is best on every model. Without samples,
               or with noise in their place, it is min-max.
    symmetric: whether zero points must be 0.
    """

    name: ClassVar[str] = "quantize-activations"

    bits: int = 8
    observer: str = AUTO
    symmetric: bool = False

    def run(self, module: Module) -> Changes:
        if self.bits not in module.target.activation_bits:
            raise PipelineError(
                f"{self.bits}-bit activations",
                where=f"target {module.target.name}",
                fix=f"It runs {', '.join(map(str, module.target.activation_bits))} bits.",
            )
        changes = Changes()
        candidates = CANDIDATES if self.observer == AUTO else (self.observer,)
        if self.observer == AUTO and (module.calibration is None or module.made_up == NOISE):
            # What noise prefers is narrower than what data needs.
            candidates = ("min-max",)
            changes.note("ranges by min-max, since there are no samples to try others on")
        plans = {observer: self._formats(module, observer) for observer in candidates}
        chosen = candidates[0]
        if len(plans) > 1:
            # Formats decided before, such as the weights', are part of what the outputs will feel.
            trials = {observer: {**module.plan.formats, **formats} for observer, formats in plans.items()}
            samples = module.require_calibration().take(TRIAL_SAMPLES)
            moved = divergences(module.graph, trials, samples, module.progress)
            chosen = min(candidates, key=moved.__getitem__)
            figures = ", ".join(f"{name} {moved[name]:.3g}" for name in candidates)
            changes.note(f"ranges by {chosen}, which moves the outputs least (in nats: {figures})")
        module.plan = module.plan.with_formats(plans[chosen])
        for name in plans[chosen]:
            changes.change(name)
        return changes

    def _formats(self, module: Module, observer: str) -> dict[str, Format]:
        """The format of every activation and constant operand, with ranges by one observer."""
        formats: dict[str, Format] = {}
        values = [*materialised(module.graph), *constant_operands(module.graph)]
        for group in format_groups(module.graph, values):
            ranges = [self._range(module, value, observer) for value in group]
            chosen = self._format(min(low for low, _ in ranges), max(high for _, high in ranges), module)
            formats.update({value.name: chosen for value in group})
        return formats

    def _range(self, module: Module, value: Value, observer: str) -> tuple[float, float]:
        if value.constant is not None:
            return float(value.constant.min()), float(value.constant.max())
        seen = module.require_statistics().of(value.name)
        return choose_range(observer, seen, levels=1 << self.bits, symmetric=self._is_symmetric(module))

    def _format(self, lowest: float, highest: float, module: Module) -> Format:
        if self._is_symmetric(module):
            kind = IntegerType(self.bits, signed=lowest < 0)
            return symmetric(max(-lowest, highest), kind)
        return affine(lowest, highest, IntegerType(self.bits))

    def _is_symmetric(self, module: Module) -> bool:
        return self.symmetric or module.target.symmetric_activations


def constant_operands(graph: Graph) -> list[Value]:
    """The constants that are read as values like any activation: not weights, biases or parameters."""
    biases = {bias_of(node) for node in graph.nodes("MatMul")}
    readers = [node for node in graph.nodes("Add", "Sub", "Mul", "Concat") if node not in biases]
    operands = [operand for node in readers for operand in node.inputs if operand is not None]
    return [operand for operand in operands if operand.constant is not None]
