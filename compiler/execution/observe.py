"""Run a float graph over calibration data once and take statistics of its activations as they go by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bitsmith.dataset import Dataset
from bitsmith.errors import ModelError
from bitsmith.execution.gram import StreamingGram
from bitsmith.execution.histogram import StreamingHistogram
from bitsmith.execution.runtime import FloatArray, Session
from bitsmith.execution.threads import one_blas_thread
from bitsmith.ir.fusion import materialised
from bitsmith.ir.graph import Graph, Value
from bitsmith.ir.linear import linear_nodes
from bitsmith.ir.statistics import Statistics, ValueStatistics
from bitsmith.progress import Progress, silent

TAP_LIMIT = 32 << 20
"""Bytes of activations in a batch, unless those of one sample take more; two batches are held at a time."""


class StreamingValue:
    """The statistics of one activation, updated batch by batch."""

    def __init__(self, name: str, bins: int) -> None:
        self._name = name
        self._histogram = StreamingHistogram(bins)
        self._minimum = math.inf
        self._maximum = -math.inf
        self._samples = 0
        self._channel_sum = np.zeros(())
        self._per_channel = 0

    def add(self, batch: FloatArray) -> None:
        """Take in a batch (n, channels, ...). Raises ModelError for a NaN, an infinity, or no elements."""
        minimum, maximum = (float(batch.min()), float(batch.max())) if batch.size else (math.nan, math.nan)
        if not (math.isfinite(minimum) and math.isfinite(maximum)):
            raise self._not_finite(batch)
        self._minimum = min(self._minimum, minimum)
        self._maximum = max(self._maximum, maximum)
        self._histogram.add(batch.reshape(-1), minimum, maximum)
        channels = batch.shape[1] if batch.ndim > 1 else 1
        positions = batch.reshape(len(batch), channels, -1)
        # Float32 within a channel of a sample, float64 across samples.
        self._channel_sum = self._channel_sum + np.einsum("ncs->nc", positions).sum(axis=0, dtype=np.float64)
        self._per_channel += len(batch) * positions.shape[2]
        self._samples += len(batch)

    def result(self) -> ValueStatistics:
        """The statistics of all that was taken in."""
        return ValueStatistics(
            minimum=self._minimum,
            maximum=self._maximum,
            channel_mean=self._channel_sum / self._per_channel,
            histogram=self._histogram.result(),
        )

    def _not_finite(self, batch: FloatArray) -> ModelError:
        if batch.size == 0:
            return ModelError("it has no elements", where=self._name, fix="Remove what computes it from the model.")
        bad = ~np.isfinite(batch).reshape(len(batch), -1).all(axis=1)
        return ModelError(
            f"it becomes NaN or infinite on calibration sample {self._samples + int(np.argmax(bad))}",
            where=self._name,
            fix="Check that samples are scaled as in training, and that the float model runs on them.",
        )


def observe(
    graph: Graph,
    data: Dataset,
    *,
    batch_size: int,
    bins: int,
    grams: bool = False,
    progress: Progress = silent,
) -> Statistics:
    """Statistics of every activation that exists as an integer tensor, over all samples of `data`, in one run.

    Memory holds the activations of two batches, one that is computed while the other is counted, and for each
    activation `bins` counts; it does not grow with the number of samples. Batches are made smaller than
    `batch_size` where one would take more than `TAP_LIMIT` bytes.

    grams: whether to take the Gram matrices of linear layers too.
    Raises ModelError where an activation is not finite, DataError where a sample is not.
    """
    linear = linear_nodes(graph) if grams else []
    tapped = list(dict.fromkeys([*materialised(graph), *(node.operand(0) for node in linear)]))
    values = {value.name: StreamingValue(value.name, bins) for value in tapped}
    moments = {node.output.name: (node, StreamingGram(node)) for node in linear}
    session = Session(graph, [value.name for value in tapped if not value.is_input])
    done = 0
    progress("calibrate", done, len(data))
    with one_blas_thread():
        for taps in _one_ahead(_runs(session, data.batches(fitting_batch(tapped, batch_size)))):
            for name, value in values.items():
                value.add(taps[name])
            for node, moment in moments.values():
                moment.add(taps[node.operand(0).name])
            done += len(taps[tapped[0].name])
            progress("calibrate", done, len(data))
    return Statistics(
        samples=done,
        values={name: value.result() for name, value in values.items()},
        grams={name: moment.result() for name, (_, moment) in moments.items()},
    )


def _runs(session: Session, batches: Iterable[dict[str, FloatArray]]) -> Iterator[dict[str, FloatArray]]:
    """Each batch with what the session makes of it."""
    for batch in batches:
        yield {**batch, **session.run(batch)}


def _one_ahead(items: Iterator[dict[str, FloatArray]]) -> Iterator[dict[str, FloatArray]]:
    """The items, each made on another thread while the caller works on the one before it.

    Counting keeps one core busy, and the operators of a small batch do not keep the others so.
    """
    with ThreadPoolExecutor(max_workers=1) as worker:
        ahead = worker.submit(next, items, None)
        while (item := ahead.result()) is not None:
            ahead = worker.submit(next, items, None)
            yield item


def fitting_batch(values: Iterable[Value], batch_size: int) -> int:
    """The largest batch up to `batch_size` of which all `values` together take at most `TAP_LIMIT` bytes."""
    sample_bytes = sum(math.prod(value.sample_shape) * value.dtype.itemsize for value in values)
    return min(batch_size, max(1, TAP_LIMIT // max(1, sample_bytes)))
