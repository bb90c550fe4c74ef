"""What calibration samples make of the activations that might be divided: extremes per channel, and some rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.dataset import Dataset
from bitsmith.errors import ModelError
from bitsmith.execution.observe import fitting_batch
from bitsmith.execution.patches import patches
from bitsmith.execution.runtime import Session
from bitsmith.ir.graph import Graph, Node
from bitsmith.passes.smooth.sites import Site
from bitsmith.progress import Progress, silent

Vector = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]

BATCH = 8
ROWS = 512
"""Of the input of each linear op, drawn from `SPREAD` samples: enough to compare strengths, one number each."""
SPREAD = 64


@dataclass(frozen=True, eq=False)
class Seen:
    """lowest, highest: float64 (channels,), over all samples. rows: by reader, (groups, n, k) of what it multiplies."""

    lowest: Vector
    highest: Vector
    rows: dict[Node, FloatArray]

    @property
    def magnitude(self) -> Vector:
        """The largest |element| of each channel."""
        return np.maximum(np.abs(self.lowest), np.abs(self.highest))


def observe_sites(
    graph: Graph, found: Sequence[Site], data: Dataset, *, seed: int, progress: Progress = silent, task: str = "smooth"
) -> list[Seen]:
    """What is seen at each site, in one run over the data; memory holds a batch and `ROWS` rows per linear op.

    Raises ModelError where an activation is not finite.
    """
    if not found:
        return []
    random = np.random.default_rng(seed)
    every = -(-len(data) // SPREAD)
    at_once = -(-ROWS * every // len(data))
    lowest = [np.full(site.channels, np.inf) for site in found]
    highest = [np.full(site.channels, -np.inf) for site in found]
    drawn: list[dict[Node, list[FloatArray]]] = [{node: [] for node in site.readers} for site in found]
    session = Session(graph, [site.value.name for site in found])
    done = 0
    progress(task, done, len(data))
    for batch in data.batches(fitting_batch([site.value for site in found], BATCH)):
        results = session.run(batch)
        for index, site in enumerate(found):
            taken = results[site.value.name]
            others = tuple(axis for axis in range(taken.ndim) if axis != site.axis)
            lowest[index] = np.minimum(lowest[index], taken.min(axis=others))
            highest[index] = np.maximum(highest[index], taken.max(axis=others))
            if not (np.isfinite(lowest[index]).all() and np.isfinite(highest[index]).all()):
                raise ModelError(
                    "it becomes NaN or infinite on calibration samples",
                    where=site.value.name,
                    fix="Check that samples are scaled as in training, and that the float model runs on them.",
                )
            for sample in range(-done % every, len(taken), every):
                for node, rows in drawn[index].items():
                    rows.append(_some(patches(node, taken[sample : sample + 1]), at_once, random))
        done += len(taken)
        progress(task, done, len(data))
    return [
        Seen(low, high, {node: np.concatenate(rows, axis=1) for node, rows in taken_rows.items()})
        for low, high, taken_rows in zip(lowest, highest, drawn, strict=True)
    ]


def _some(rows: FloatArray, count: int, random: np.random.Generator) -> FloatArray:
    """At most `count` of the rows (groups, n, k), drawn without replacement."""
    if rows.shape[1] <= count:
        return rows
    return rows[:, random.choice(rows.shape[1], count, replace=False)]
