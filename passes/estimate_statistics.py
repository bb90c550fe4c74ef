"""Statistics without data: what batch normalisation remembers, propagated to every activation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from bitsmith.errors import PipelineError
from bitsmith.ir.fusion import materialised
from bitsmith.ir.graph import Value
from bitsmith.ir.moments import ClippedNormal
from bitsmith.ir.statistics import Histogram, Statistics, ValueStatistics
from bitsmith.manager import Changes, Pass
from bitsmith.module import NOISE, Module
from bitsmith.passes.data_free.located import located
from bitsmith.passes.data_free.propagate import propagate

COLOURS = 3
PIXELS = 3.0
"""Deviations from the mean within which the pixels of a picture of three colours lie: their range is about four (see
`QUARTER` in data_free/inputs.py), the mean seldom in its middle. Of one channel it may be anything."""

COUNTED = 10_000_000
"""Elements that a histogram stands for: what is rarer than one of them is not in it."""


@dataclass(frozen=True)
class EstimateStatistics(Pass):
    """Take activations to be clipped normals, channel by channel, with the moments that batch normalisation saw.

    A normalised value has mean beta and standard deviation |gamma|; Relu, Clip and Min clip it, sums add moments,
    linear layers map means exactly and variances as if inputs were independent (Nagel et al. 2019,
    arXiv:1906.04721, section 5.1.1 and appendix C). A histogram is the mixture of the
    channels' normals.

    bins:  of each histogram at most.
    reach: how many deviations from its mean a channel's range goes.
    alone: the same in a model that keeps no batch normalisation, where noise has been through the network too: what
           that reached is added, and channels whose deviations are guesses leave no room for rare elements.
    outputs: the same of that model's outputs, and of inputs of which no range is given: a clipped output is a wrong
           answer, where a clipped activation is one of many. Pixels of colours lie within three deviations.
    """

    name: ClassVar[str] = "estimate-statistics"

    bins: int = 2048
    reach: float = 6.0
    alone: float = 4.5
    outputs: float = 9.0

    def run(self, module: Module) -> Changes:
        changes = Changes()
        if module.batch_norms is None:
            raise PipelineError(
                "nothing was kept of the model's batch normalisations",
                fix="Put record-batch-norms before fold-batch-norm in the pipeline.",
            )
        found = located(module.graph, module.batch_norms)
        for name, reason in found.lost.items():
            changes.refuse(name, reason)
        known = len(found.known) - len(module.batch_norms.inputs)
        moments = propagate(module.graph, found.known)
        values = {
            value.name: value_statistics(moments[value.name], self.bins, self.reach if known else self._alone(value))
            for value in materialised(module.graph)
        }
        seen = module.statistics
        if seen is not None and module.made_up == NOISE:
            inputs = {value.name for value in module.graph.inputs}
            values = {
                name: value if name in inputs else _widened(value, seen.values.get(name))
                for name, value in values.items()
            }
        module.statistics = Statistics(samples=0, values=values, grams=seen.grams if seen is not None else {})
        for name in values:
            changes.change(name)
        source = f"{known} batch normalisations" if known else "guesses at the inputs alone"
        changes.note(f"no data: ranges of {len(values)} activations by moments propagated from {source}")
        return changes

    def _alone(self, value: Value) -> float:
        """The reach of a value in a model without batch normalisation."""
        if value.is_input and value.rank == 4 and value.shape[1] == COLOURS:
            return PIXELS
        return self.outputs if value.is_input or value.is_output else self.alone


def _widened(value: ValueStatistics, seen: ValueStatistics | None) -> ValueStatistics:
    """The range that holds what noise reached too: where both are guesses, the wider one costs less."""
    if seen is None:
        return value
    lowest, highest = min(value.minimum, seen.minimum), max(value.maximum, seen.maximum)
    return replace(value, minimum=lowest, maximum=highest)


def value_statistics(value: ClippedNormal, bins: int, reach: float) -> ValueStatistics:
    """What calibration would have seen of a value of this distribution."""
    low, high = value.ends(reach)
    lowest, highest = float(low.min()), float(high.max())
    return ValueStatistics(
        minimum=lowest,
        maximum=highest,
        channel_mean=value.mean,
        histogram=_histogram(value, min(lowest, 0.0), max(highest, 0.0), bins),
    )


def _histogram(value: ClippedNormal, lowest: float, highest: float, bins: int) -> Histogram:
    """The mixture in bins of a power of two, so that 0.0 lies on an edge."""
    width = 2.0 ** math.ceil(math.log2(max(highest - lowest, 1e-30) / max(bins - 2, 1)))
    first, last = math.floor(lowest / width), math.floor(highest / width) + 1
    edges = width * np.arange(first, last + 1, dtype=np.float64)
    below = value.below(edges)
    below[0], below[-1] = 0.0, 1.0
    counts = np.floor(COUNTED * np.diff(below) + 0.5).astype(np.int64)
    return Histogram(counts, float(edges[0]), float(edges[-1]))
