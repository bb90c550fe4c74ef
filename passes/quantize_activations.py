"""Decide the format of every activation from what calibration saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bitsmith import registry
from bitsmith.errors import PipelineError
from bitsmith.execution.simulate import divergences
from bitsmith.ir.formats import Format, IntegerType, affine, symmetric, to_power_of_two
from bitsmith.ir.graph import Value
from bitsmith.ir.sharing import activation_groups, is_edge
from bitsmith.manager import Changes, Pass
from bitsmith.module import NOISE, Module
from bitsmith.observers import AUTO, CANDIDATES, choose_range

TRIAL_SAMPLES = 128

EDGE_BITS = 8
"""Of inputs and outputs where nothing else is said."""


@dataclass(frozen=True)
class QuantizeActivations(Pass):
    """Give each activation a per-tensor format whose grid covers the range that an observer chose.

    Values between which elements only move (Concat, Reshape, pools by maximum...) share the format that covers
    them all. Asymmetric formats follow Jacob et al. 2017 (arXiv:1712.05877, section 3). Symmetric ones have
    zero point 0, and are unsigned where no sample was negative, so that no half of the grid lies idle.
    Constant operands of Add, Mul and Concat are values like any other.

    bits:      of every activation but the graph's inputs and outputs. The module's allocation goes before both: what
               it names has its bits, and so has all that shares a format with it.
    edges:     bits of the graph's inputs and outputs, and of what shares a format with them; 0 for 8, or `bits` where
               that is more: few bits there cost far more than anywhere else, and little is gained.
    observer:  how the range is chosen: min-max, percentile, mse or kl; or auto, which tries the first three on some
               calibration samples and keeps the one that moves the outputs least (Kullback-Leibler divergence, as
               ZeroQ has it, arXiv:2001.00281, equation 2). No one of them is best on every model. Without samples,
               or with noise in their place, it is min-max.
    symmetric: whether zero points must be 0.
    scales:    free, or power-of-two: the one that covers the range that was chosen.
    """

    name: ClassVar[str] = "quantize-activations"

    bits: int = 8
    edges: int = 0
    observer: str = AUTO
    symmetric: bool = False
    scales: str = "free"

    def run(self, module: Module) -> Changes:
        allocated = {} if module.allocation is None else module.allocation.activations
        for bits in dict.fromkeys((self.bits, self.edges or self.bits, *allocated.values())):
            if bits not in module.target.activation_bits:
                raise PipelineError(
                    f"{bits}-bit activations",
                    where=f"target {module.target.name}",
                    fix=f"It runs {', '.join(map(str, module.target.activation_bits))} bits.",
                )
        if self.scales not in ("free", "power-of-two"):
            raise PipelineError(f"scales={self.scales}", where=f"pass {self.name}", fix="Give free or power-of-two.")
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
        groups = activation_groups(module.graph)
        allocated = {} if module.allocation is None else module.allocation.activations
        _require_known(allocated, [value for group in groups for value in group])
        for group in groups:
            bits = _allocated(allocated, group)
            if bits is None:
                bits = self._edge_bits(module) if any(is_edge(one) for one in group) else self.bits
            ranges = [self._range(module, value, observer, bits) for value in group]
            chosen = self._format(min(low for low, _ in ranges), max(high for _, high in ranges), bits, module)
            formats.update({value.name: chosen for value in group})
        return formats

    def _edge_bits(self, module: Module) -> int:
        widest = max(self.bits, EDGE_BITS)
        return self.edges or (widest if widest in module.target.activation_bits else self.bits)

    def _range(self, module: Module, value: Value, observer: str, bits: int) -> tuple[float, float]:
        if value.constant is not None:
            return float(value.constant.min()), float(value.constant.max())
        seen = module.require_statistics().of(value.name)
        return choose_range(observer, seen, levels=1 << bits, symmetric=self._is_symmetric(module))

    def _format(self, lowest: float, highest: float, bits: int, module: Module) -> Format:
        if self._is_symmetric(module):
            kind = IntegerType(bits, signed=lowest < 0)
            chosen = symmetric(max(-lowest, highest), kind)
        else:
            chosen = affine(lowest, highest, IntegerType(bits))
        return chosen if self.scales == "free" else to_power_of_two(chosen)

    def _is_symmetric(self, module: Module) -> bool:
        return self.symmetric or module.target.symmetric_activations


def _require_known(allocated: Mapping[str, int], values: list[Value]) -> None:
    """Refuse an allocation for activations that do not exist as integer tensors."""
    names = [value.name for value in values]
    for name in allocated:
        if name not in names:
            raise PipelineError(
                f"there is no activation {name}", where="allocation, activations", fix=registry.suggest(name, names)
            )


def _allocated(allocated: Mapping[str, int], group: list[Value]) -> int | None:
    """The bits that an allocation has for values that share a format; None where it names none of them."""
    found = {value.name: allocated[value.name] for value in group if value.name in allocated}
    if len(set(found.values())) > 1:
        raise PipelineError(
            f"{' and '.join(f'{name} ({bits} bits)' for name, bits in found.items())} share one format",
            where="allocation, activations",
            fix="Give them the same bits.",
        )
    return next(iter(found.values()), None)
