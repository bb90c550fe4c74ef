"""Batches of a graph's inputs: cut, checked, and made up for tests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.errors import DataError
from bitsmith.ir.formats import IntegerArray
from bitsmith.ir.integer import IntegerGraph

Batch = dict[str, IntegerArray]


LARGEST_BATCH = 16
BATCH_ELEMENTS = 1 << 21


def batch_size(graph: IntegerGraph) -> int:
    """Samples to run at once: as many as keep the largest value at 2^21 elements, and few enough for caches."""
    largest = max(math.prod(value.shape) for value in graph.values.values())
    return max(1, min(LARGEST_BATCH, BATCH_ELEMENTS // largest))


def in_batches(inputs: Mapping[str, npt.NDArray[Any]], batch: int) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """The inputs in consecutive parts of at most `batch` samples: one part, if an empty one, at the least."""
    samples = max((len(array) for array in inputs.values()), default=0)
    for start in range(0, max(samples, 1), batch):
        yield {name: array[start : start + batch] for name, array in inputs.items()}


def checked_inputs(graph: IntegerGraph, inputs: Mapping[str, IntegerArray]) -> Batch:
    """The graph's inputs in its order, or a DataError that says which of them does not fit and why."""
    for name in [*graph.inputs, *inputs]:
        if name not in inputs or name not in graph.inputs:
            problem = "is not given" if name not in inputs else "is no input of the graph"
            raise DataError(problem, where=f"input {name}", fix=f"Give {', '.join(graph.inputs)}.")
    samples = inputs[graph.inputs[0]].shape[:1]
    for name in graph.inputs:
        array, value = inputs[name], graph.values[name]
        kind = value.format.type
        if array.dtype != kind.storage or array.shape != (*samples, *value.shape):
            dimensions = ", ".join(map(str, [*(samples or ["samples"]), *value.shape]))
            raise DataError(
                f"is {array.dtype} of shape {list(array.shape)}",
                where=f"input {name}",
                fix=f"Give {kind.storage} of shape [{dimensions}].",
            )
        if array.size and not kind.lowest <= int(array.min()) <= int(array.max()) <= kind.highest:
            raise DataError(
                f"holds [{array.min()}, {array.max()}], beyond {kind}",
                where=f"input {name}",
                fix=f"Quantize it with the format of {name}.",
            )
    return {name: inputs[name] for name in graph.inputs}


def vectors(graph: IntegerGraph, samples: int, seed: int) -> Batch:
    """Inputs that try a graph's corners, then its middle: the same for the same seed.

    The first samples are, for all inputs at once: all lowest, all highest, all zero points, then lowest and
    highest drawn element by element. The rest is uniform over the input's type.
    """
    random = np.random.default_rng(seed)
    made: Batch = {}
    for name in graph.inputs:
        value = graph.values[name]
        kind = value.format.type
        extremes = np.where(random.random(value.shape) < 0.5, kind.lowest, kind.highest)
        corners = np.stack(
            [
                np.full(value.shape, kind.lowest),
                np.full(value.shape, kind.highest),
                np.full(value.shape, value.format.zero_point),
                extremes,
            ]
        )
        uniform = random.integers(
            kind.lowest, kind.highest, (max(samples - len(corners), 0), *value.shape), endpoint=True
        )
        made[name] = np.concatenate([corners, uniform])[:samples].astype(kind.storage)
    return made
