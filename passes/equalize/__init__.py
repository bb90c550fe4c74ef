"""Cross-layer equalization: the same function, with weights and activations that fill their tensors' ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.errors import PipelineError
from bitsmith.execution.channels import channel_statistics
from bitsmith.ir.fusion import materialised
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.equalize.apply import rescale_clamps, rescaled, store
from bitsmith.passes.equalize.channels import ChannelGroups, channel_groups
from bitsmith.passes.equalize.solve import Vector, equalizing_scales

SAMPLES = 64
"""Calibration samples that activation ranges are taken from: outliers of one sample in a hundred do not matter."""


@dataclass(frozen=True)
class Equalize(Pass):
    """Divide what makes channel i by s_i, and multiply what reads it by s_i: W1' = W1 / s, b1' = b1 / s, W2' = W2 s.

    So narrow channels use as much of a grid that all share as wide ones do. With m_i, r_i the shares that the channel
    takes of the ranges of the weights that make and that read it (its largest |weight| over the tensor's), and a_i
    the share that its activations take, s_i = sqrt(max(m_i, a_i) / r_i) is repeated until every scale settles.
    Without a_i this is Nagel et al. 2019 (arXiv:1906.04721, section 4.1) with ranges in units of their tensors'; with
    it, no channel grows beyond the range that its tensor had, where weights alone would let a narrow one take most of
    the activations' grid.

    What stands between must commute with a positive scale per channel. Where a value is read or made in several
    places, as along a chain of residual blocks, one vector serves all of them. A Clip to [0, c], such as ReLU6,
    becomes Relu and a Min with c / s_i: exactly the same function. A channel of which nothing is made or read is
    left alone, and none is scaled by more than 1e4 over all rounds.

    iterations:  rounds over all layers at most; they stop once every scale is within 1e-5 of settled.
    activations: how much a_i counts beside m_i; 0 looks at weights alone. Without data, biases stand in for a_i.
    """

    name: ClassVar[str] = "equalize"

    iterations: int = 20
    activations: float = 1.0

    def run(self, module: Module) -> Changes:
        self._check(module)
        changes = Changes()
        groups = channel_groups(module.graph)
        scale = equalizing_scales(groups, self.activations * _activation_shares(module, groups, self), self.iterations)
        _store(groups, scale, changes)
        split = rescale_clamps(module.graph, groups.of, scale)
        if split:
            changes.note(f"{len(split)} Clips became Relu and a Min per channel, the first in {split[0].name}")
        for one in groups.linear:
            made = scale[one.makes]
            if not groups.is_free[one.makes].any():
                changes.refuse(one.node, groups.fixed[int(one.makes[0])])
            elif np.any(made != 1):
                changes.change(f"{one.node.where}: outputs by {1 / made.max():.3g} to {1 / made.min():.3g}")
        if changes.made:
            # What was seen of the channels is of other ranges now.
            module.statistics = None
        return changes

    def _check(self, module: Module) -> None:
        if self.iterations < 1 or self.activations < 0:
            raise PipelineError(
                f"iterations={self.iterations}, activations={self.activations}",
                where=f"pass {self.name}",
                fix="Give at least 1 iteration, and activations of 0 or more.",
            )
        if module.plan.formats:
            raise PipelineError(
                "formats are decided already, and would be those of other ranges",
                where=f"pass {self.name}",
                fix="Put equalize before the passes that quantize.",
            )


def _activation_shares(module: Module, groups: ChannelGroups, options: Equalize) -> Vector:
    """The largest |activation| of each group over its tensor's, of the values that will be held as integers.

    Without data, |bias| stands in: what a channel is where its inputs are zero, and all there is of a channel whose
    weights are all but dead.
    """
    shares = np.zeros(groups.count)
    if options.activations == 0:
        return shares
    if module.calibration is None:
        for one in groups.linear:
            bias = one.node.constant(2)
            if bias is not None and bias.any():
                np.maximum.at(shares, one.makes, np.abs(bias) / np.abs(bias).max())
        return shares
    values = [
        value
        for value in materialised(module.graph)
        if value in groups.of and not value.is_input and groups.is_free[groups.of[value]].any()
    ]
    samples = module.calibration.take(SAMPLES)
    for value, seen in channel_statistics(module.graph, values, samples, module.progress, options.name).items():
        largest = seen.magnitude.max()
        if largest > 0:
            np.maximum.at(shares, groups.of[value], seen.magnitude / largest)
    return shares


def _store(groups: ChannelGroups, scale: Vector, changes: Changes) -> None:
    """Rescale every linear op; channels of one that float32 could not hold get scale 1 in `scale`, with a reason."""
    fitting = False
    while not fitting:
        results = [(one, rescaled(one, scale)) for one in groups.linear]
        fitting = True
        for one, result in results:
            if result is None:
                changes.refuse(one.node, "its scaled weights or biases would not be finite in float32")
                scale[one.makes] = scale[one.reads] = 1.0
                fitting = False
    for one, result in results:
        if result is not None and (np.any(scale[one.makes] != 1) or np.any(scale[one.reads] != 1)):
            store(one, *result)
