"""SmoothQuant: activations whose channels differ less, for weights whose channels differ more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.errors import PipelineError
from bitsmith.ir.linear import LINEAR
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.smooth.apply import divide
from bitsmith.passes.smooth.samples import Seen, observe_sites
from bitsmith.passes.smooth.sites import Site, sites
from bitsmith.passes.smooth.strength import Formats, OutputError, largest_weights, smoothing_scale

WORTHWHILE = 0.99
"""A scale must bring the error of the outputs below this part of what it is without."""

FEWEST_BITS, MOST_BITS = 3, 16


@dataclass(frozen=True)
class Smooth(Pass):
    """Divide channel j of an activation by s_j, and multiply the weights that read it by s_j: X W = (X / s) (s W).

    One grid for all of an activation is as coarse as its largest channel asks for; weights have a scale per output
    channel and can take more. With s_j = max|X_j|^a / max|W_j|^(1-a), a strength a of 0 leaves all of the difference
    between channels to the activation and 1 all of it to the weights (SmoothQuant; Xiao et al. 2022, arXiv:2211.10438,
    equation 4). The strength is searched for each activation: the one that loses least of the outputs of all that
    reads it, such as Q, K and V of an attention, once both sides are rounded. Where none gains a hundredth, the
    activation is left as it is.

    What makes the activation takes 1 / s: gain and shift of a LayerNormalization or BatchNormalization, constants of a
    Mul or Div, or weights and bias of a linear op; through Relu, LeakyRelu, PRelu, sums with constants, and, where
    channels are axis 1, clamps from 0 and MaxPool. An activation that anything but linear ops reads is refused, and so
    is one that a sum of two others makes, as in a residual stream.

    It looks at calibration samples itself, and drops statistics that were taken of the activations as they were.

    weights, activations: bits that the compile will round to. granularity: of weights, channel or tensor.
    strength: the same a for all activations, wherever it gains; None to search.
    steps:    of the search, from 0 to 1.
    """

    name: ClassVar[str] = "smooth"

    weights: int = 8
    activations: int = 8
    granularity: str = "channel"
    strength: float | None = None
    steps: int = 20

    def run(self, module: Module) -> Changes:
        self._check(module)
        changes = Changes()
        found, refused = sites(module.graph)
        for node, reason in refused:
            changes.refuse(node, reason)
        found = [site for site in found if not self._is_refused(site, changes)]
        data = module.require_calibration()
        formats = Formats(self.weights, self.activations, self.granularity, module.target.symmetric_activations)
        seen = observe_sites(
            module.graph, found, data, seed=module.seed, progress=module.progress, task=f"{self.name}: observe"
        )
        for index, (site, one) in enumerate(zip(found, seen, strict=True), start=1):
            self._smooth(module, site, one, formats, changes)
            module.progress(self.name, index, len(found))
        if changes.made:
            # What was seen of the activations is of other ranges now.
            module.statistics = None
        return changes

    def _smooth(self, module: Module, site: Site, seen: Seen, formats: Formats, changes: Changes) -> None:
        inputs, weights = seen.magnitude, largest_weights(site.readers, site.channels)
        first = site.readers[0]
        if not (inputs.any() and weights.any()):
            changes.refuse(first, f"{site.value.name}, or what reads it, is always 0")
            return
        error = OutputError.of(site.readers, seen, formats)
        before = error.at(np.ones(site.channels))
        tried = {strength: smoothing_scale(inputs, weights, strength) for strength in self._strengths()}
        after, strength = min((error.at(scale), strength) for strength, scale in tried.items())
        if after >= WORTHWHILE * before:
            changes.refuse(first, f"no strength loses less of the outputs (at best {after:.3g}, without {before:.3g})")
            return
        reason = divide(module.graph, site, tried[strength])
        if reason is not None:
            changes.refuse(first, reason)
            return
        changes.change(
            f"{site.value.name}: strength {strength:.2f} for {len(site.readers)} readers, "
            f"error of their outputs {before:.3g} to {after:.3g}"
        )

    def _is_refused(self, site: Site, changes: Changes) -> bool:
        source = site.makers[-1]
        if self.granularity == "channel" or source.op not in LINEAR:
            return False
        changes.refuse(
            site.readers[0],
            f"the weight of {source.where} has one scale, which its channels would spread over; equalize weighs both",
        )
        return True

    def _strengths(self) -> list[float]:
        return [self.strength] if self.strength is not None else np.linspace(0, 1, self.steps + 1).tolist()

    def _check(self, module: Module) -> None:
        where = f"pass {self.name}"
        for bits in (self.weights, self.activations):
            if not FEWEST_BITS <= bits <= MOST_BITS:
                raise PipelineError(f"{bits} bits", where=where, fix=f"Give {FEWEST_BITS} to {MOST_BITS}.")
        if self.granularity not in ("channel", "tensor"):
            raise PipelineError(f"granularity={self.granularity}", where=where, fix="Give channel or tensor.")
        if self.steps < 1 or not 0 <= (self.strength or 0.0) <= 1:
            raise PipelineError(
                f"strength={self.strength}, steps={self.steps}",
                where=where,
                fix="Give a strength from 0 to 1, or at least 1 step.",
            )
        if module.plan.formats:
            raise PipelineError(
                "formats are decided already, and would be those of other ranges",
                where=where,
                fix="Put smooth before the passes that quantize.",
            )
