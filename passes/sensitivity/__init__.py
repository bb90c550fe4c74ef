"""Measure how far the outputs move when single weights and activations get few bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from bitsmith import registry
from bitsmith.errors import PipelineError
from bitsmith.execution.divergence import KINDS, SOFTENED, Divergence
from bitsmith.execution.network import layers_of, macs_of
from bitsmith.ir.formats import Plan
from bitsmith.ir.graph import Graph
from bitsmith.ir.sensitivity import Sensitivity, falling
from bitsmith.ir.sharing import activation_groups
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.quantize_activations import QuantizeActivations
from bitsmith.passes.quantize_weights import QuantizeWeights
from bitsmith.passes.sensitivity.direct import Rounded, activation_losses, nearest, weight_losses
from bitsmith.passes.sensitivity.learned_rounding import learned
from bitsmith.passes.sensitivity.neighbours import interactions
from bitsmith.passes.sensitivity.reconstruction import weighted_errors
from bitsmith.passes.sensitivity.study import ActivationPart, Study, Table, WeightPart, batch_size
from bitsmith.passes.sensitivity.trace import second_order

Found = tuple[Table, Table, Callable[[], Rounded]]
"""Losses of weights, losses of activations, and what makes weights as they were rounded, which takes memory."""

Method = Callable[[Study, bool], Found]
"""Of a study, and whether the scales of weights may be any."""


def _direct(study: Study, free: bool) -> Found:
    weights: Table = {}
    for part in study.parts():
        weights |= weight_losses(part, nearest(part))
    return weights, activation_losses(study), lambda: nearest(study)


def _learned(study: Study, free: bool) -> Found:
    weights: Table = {}
    for part in study.parts():
        weights |= weight_losses(part, learned(part, free).constants)
    return weights, activation_losses(study), lambda: learned(study, free).constants


def _reconstruction(study: Study, free: bool) -> Found:
    weights: Table = {}
    for part in study.parts():
        weights |= weighted_errors(part, learned(part, free))
    return weights, activation_losses(study), lambda: learned(study, free).constants


def _second_order(study: Study, free: bool) -> Found:
    return *second_order(study), lambda: nearest(study)


METHODS: Mapping[str, Method] = MappingProxyType(
    {"direct": _direct, "learned": _learned, "reconstruction": _reconstruction, "second-order": _second_order}
)

WORK = 400_000_000_000
"""Multiply-accumulates that running every part at every width may take: some 15 seconds of a core. Of a large model it
leaves fewer samples, but `FEWEST`."""

FEWEST = 8


@dataclass(frozen=True)
class MeasureSensitivity(Pass):
    """Predict what each weight and each activation loses at each width, for choosing bits: `Module.sensitivity`.

    A part's loss is how far the outputs move, in nats, when it alone is rounded and all else is as in float. Those of
    a whole allocation are expected to add up. What was given, or measured before, is kept.

    The default ranks best what compiles with learned rounding really lose. Over 50 random allocations each of DS-CNN,
    MobileNetV2 and ResNet-20, Spearman's correlation with decibels at the outputs is 0.96, 0.96 and 0.96; that of
    `direct` with plain probabilities, as it was published, 0.86, 0.82 and 0.76, of `second-order` 0.87, 0.90 and 0.87,
    and of the mere number of bits 0.91, 0.93 and 0.91. `reconstruction` comes close (0.94, 0.96 and 0.95) in three
    quarters of the time; pairs add nothing (tests/benchmarks/predictors.md).

    method:      direct: weights rounded to the nearest, each run through the network (Cai et al. 2020, ZeroQ,
                 arXiv:2001.00281, equation 2).
                 learned: the same with weights as learned rounding leaves them, which is what will ship.
                 reconstruction: the squared error of a layer after learned rounding, times nats by squared error.
                 second-order: the Fisher information's trace times the squared perturbation (Dong et al. 2020,
                 HAWQ-V2, arXiv:1911.03852).
    divergence:  softened, or plain probabilities (see Divergence).
    pairs:       whether to measure, too, what each weight and the next one lose together beyond their sum.
    samples:     how many of the calibration data are run, at most; large models are run on fewer.
    weights, activations: bits to measure, as 1.6+2+3, where 1.6 stands for ternary weights; of these, the ones that
                 the target runs.
    granularity: of weights, channel or tensor; empty for the target's first.
    """

    name: ClassVar[str] = "measure-sensitivity"

    method: str = "learned"
    divergence: str = SOFTENED
    pairs: bool = False
    samples: int = 64
    weights: str = "1.6+2+3+4+5+6+8"
    activations: str = "2+3+4+5+6+8"
    granularity: str = ""

    def run(self, module: Module) -> Changes:
        self._check()
        changes = Changes()
        if module.sensitivity is not None:
            changes.note(f"sensitivity ({module.sensitivity.method}) was there")
            return changes
        study = self._study(module)
        changes.note(f"{len(study.data)} samples")
        weights, activations, rounded = METHODS[self.method](study, module.target.scales == "free")
        module.sensitivity = Sensitivity(
            self.method,
            {name: falling(losses) for name, losses in weights.items()},
            {name: falling(losses) for name, losses in activations.items()},
            interactions(study, rounded(), weights) if self.pairs else {},
        )
        for name in (*weights, *activations):
            changes.change(name)
        return changes

    def _check(self) -> None:
        where = f"pass {self.name}"
        for kind, given, known in (("method", self.method, METHODS), ("divergence", self.divergence, KINDS)):
            if given not in known:
                raise PipelineError(f"there is no {kind} {given}", where=where, fix=registry.suggest(given, known))
        if self.samples < 1:
            raise PipelineError(f"samples={self.samples}", where=where, fix="Give 1 or more.")

    def _study(self, module: Module) -> Study:
        """The graph, the samples, and what each part would be at each width."""
        graph, target = module.graph, module.target
        given = module.require_calibration()
        granularity = self.granularity or target.granularities[0]
        narrow = {
            bits: _planned(QuantizeWeights(granularity=granularity, scales=target.scales).of_width(bits), module)
            for bits in self._widths(self.weights, target.weight_widths)
        }
        ranges = {
            bits: _planned(QuantizeActivations(int(bits), int(bits), "mse", scales=target.scales), module)
            for bits in self._widths(self.activations, target.activation_bits)
        }
        weights = [
            WeightPart(layer, weight, {bits: plan[weight.name] for bits, plan in narrow.items()})
            for layer in layers_of(graph)
            if (weight := layer.weight) is not None
        ]
        activations = [
            ActivationPart(tuple(group), {bits: plan[group[0].name] for bits, plan in ranges.items()})
            for group in activation_groups(graph)
        ]
        data = given.take(min(self.samples, _affordable(graph, weights, activations)))
        divergence = Divergence.of(graph, data, self.divergence, batch_size(graph, len(data)))
        return Study(graph, data, weights, activations, divergence, module.seed, module.progress)

    def _widths(self, text: str, legal: Sequence[float]) -> list[float]:
        """Bits that are asked for and legal, ascending."""
        where, fix = f"pass {self.name}", "Write bits as 2+3+4."
        try:
            asked = {float(part) for part in text.split("+")}
        except ValueError:
            raise PipelineError(f"{text} is no list of bits", where=where, fix=fix) from None
        found = [one for one in sorted(legal) if one in asked]
        if not found:
            raise PipelineError(f"the target runs none of {text} bits", where=where, fix=f"It runs {legal}.")
        return found


def _affordable(graph: Graph, weights: Sequence[WeightPart], activations: Sequence[ActivationPart]) -> int:
    """How many samples `WORK` is enough for, where half the network runs behind a part in the mean."""
    runs = sum(len(part.formats) for part in weights) + sum(len(part.formats) for part in activations)
    each = max(1, macs_of(layers_of(graph)) * runs // 2)
    return max(FEWEST, WORK // each)


def _planned(decide: Pass, module: Module) -> Plan:
    """The formats that a pass would give."""
    scratch = Module(module.graph, module.target, module.calibration, module.seed, statistics=module.statistics)
    decide.run(scratch)
    return scratch.plan
