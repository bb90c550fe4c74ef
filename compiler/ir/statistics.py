"""Statistics: what calibration saw of each value. Immutable; filled in one streaming run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from bitsmith.errors import PipelineError


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of a value's elements in equal bins.

    counts:          int64 (bins,).
    lowest, highest: the outer edges, 0.0 between them (or one of them) and on an edge of a bin.
                     Every element seen lies in [lowest, highest).
    """

    counts: npt.NDArray[np.int64]
    lowest: float
    highest: float

    @property
    def width(self) -> float:
        """Of a bin, in the unit of the value."""
        return (self.highest - self.lowest) / len(self.counts)

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """Float64 (bins + 1,)."""
        steps = np.arange(len(self.counts) + 1, dtype=np.float64)
        return self.lowest + self.width * steps


@dataclass(frozen=True, eq=False)
class ValueStatistics:
    """One activation over all calibration samples.

    minimum, maximum: over all elements. channel_mean: float64 (channels,) over batch and space, where the
    channel axis is axis 1 of the batched value.
    """

    minimum: float
    maximum: float
    channel_mean: npt.NDArray[np.float64]
    histogram: Histogram | None

    def require_histogram(self) -> Histogram:
        """The histogram; PipelineError where none was taken."""
        if self.histogram is None:
            raise PipelineError(
                "this observer needs a histogram, and none was taken",
                fix="Give calibration data, or choose the observer min-max.",
            )
        return self.histogram


@dataclass(frozen=True, eq=False)
class Gram:
    """Second moments of what a linear layer multiplies, over all samples and output positions.

    matrix: float64 (groups, k, k), the mean of (x - mean)(x - mean)^T with x the k inputs of one output
            element (a convolution's patch in its weight's order: in-channel, then kernel).
    mean:   float64 (groups, k). rows: how many patches were seen.
    """

    matrix: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    rows: int


@dataclass(frozen=True)
class Statistics:
    """samples: how many were seen. values: by activation name. grams: by linear node's output name."""

    samples: int
    values: Mapping[str, ValueStatistics]
    grams: Mapping[str, Gram] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))
        object.__setattr__(self, "grams", MappingProxyType(dict(self.grams)))

    def of(self, value: str) -> ValueStatistics:
        """What was seen of one value; PipelineError where nothing was."""
        if value not in self.values:
            raise PipelineError(
                "calibration took no statistics of this value",
                where=value,
                fix="Put `calibrate` after the passes that rewrite the graph.",
            )
        return self.values[value]
