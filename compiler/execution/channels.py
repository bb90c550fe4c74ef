"""Statistics channel by channel, of values that no integer tensor need ever hold: what rewrites of channels go by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.dataset import Dataset
from bitsmith.errors import ModelError
from bitsmith.execution.observe import fitting_batch
from bitsmith.execution.runtime import Session
from bitsmith.ir.graph import Graph, Value
from bitsmith.progress import Progress, silent

Vector = npt.NDArray[np.float64]

BATCH = 8


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """One value over some samples and all positions: float64 (channels,) each, channels along axis 1."""

    minimum: Vector
    maximum: Vector
    mean: Vector
    deviation: Vector

    @property
    def magnitude(self) -> Vector:
        """The largest |element|."""
        return np.maximum(np.abs(self.minimum), np.abs(self.maximum))


def channel_statistics(
    graph: Graph, values: Sequence[Value], data: Dataset, progress: Progress = silent, task: str = "observe channels"
) -> dict[Value, ChannelStatistics]:
    """Statistics of computed `values` of rank 2 or more, in one run in memory that does not grow with the samples.

    Raises ModelError where a value is not finite.
    """
    if not values:
        return {}
    session = Session(graph, [value.name for value in values])
    lowest = {value: np.full(value.sample_shape[0], np.inf) for value in values}
    highest = {value: np.full(value.sample_shape[0], -np.inf) for value in values}
    first = {value: np.zeros(value.sample_shape[0]) for value in values}
    second = {value: np.zeros(value.sample_shape[0]) for value in values}
    done = 0
    progress(task, done, len(data))
    for batch in data.batches(fitting_batch(values, BATCH)):
        results = session.run(batch)
        for value in values:
            taken = results[value.name]
            rows = taken.reshape(*taken.shape[:2], -1)
            lowest[value] = np.minimum(lowest[value], rows.min(axis=(0, 2)))
            highest[value] = np.maximum(highest[value], rows.max(axis=(0, 2)))
            if not (np.isfinite(lowest[value]).all() and np.isfinite(highest[value]).all()):
                raise ModelError(
                    "it becomes NaN or infinite on calibration samples",
                    where=value.name,
                    fix="Check that samples are scaled as in training, and that the float model runs on them.",
                )
            first[value] += rows.mean(axis=2, dtype=np.float64).sum(axis=0)
            second[value] += np.square(rows).mean(axis=2, dtype=np.float64).sum(axis=0)
        done += len(taken)
        progress(task, done, len(data))
    statistics = {}
    for value in values:
        mean = first[value] / done
        deviation = np.sqrt(np.maximum(second[value] / done - mean**2, 0.0))
        statistics[value] = ChannelStatistics(lowest[value], highest[value], mean, deviation)
    return statistics
