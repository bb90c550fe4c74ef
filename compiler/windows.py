"""Samples that are longer than a model's input: windows cut from them, each of which the model takes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.dataset import Dataset
from bitsmith.errors import DataError
from bitsmith.npz import NpzFile

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Window:
    """Cuts a sample that is longer than the model's input: `size` of its elements, flattened, every `stride`."""

    size: int
    stride: int

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read `640:128`, or `640` for windows that follow each other."""
        size, _, stride = text.partition(":")
        try:
            window = cls(int(size), int(stride or size))
        except ValueError:
            window = cls(0, 0)
        if window.size < 1 or window.stride < 1:
            raise DataError(f"{text!r} is no window", where="--window", fix="Give SIZE:STRIDE, such as 640:128.")
        return window

    def count(self, length: int) -> int:
        """How many fit into a sample of `length` elements; the rest at its end is left out."""
        return max((length - self.size) // self.stride + 1, 0)

    def cut(self, rows: Array, shape: tuple[int, ...]) -> Array:
        """Rows (samples, ...) as windows (samples, count, *shape)."""
        flat = rows.reshape(len(rows), -1)
        views = np.lib.stride_tricks.sliding_window_view(flat, self.size, axis=1)[:, :: self.stride]
        return views.reshape(len(rows), -1, *shape)


def open_samples(data: str | os.PathLike[str], inputs: Mapping[str, tuple[int, ...]], window: Window | None) -> Dataset:
    """The data at a path: samples as the model takes them, or longer ones that windows are cut from.

    inputs: model input name -> shape of one sample. Raises DataError for samples that do not fit.
    """
    if window is None:
        return Dataset.open(data, inputs)
    ((name, shape),) = _single(inputs).items()
    if int(np.prod(shape)) != window.size:
        raise DataError(
            f"a window of {window.size} elements for a model input of shape {shape}",
            where="--window",
            fix=f"Give {int(np.prod(shape))}:STRIDE.",
        )
    source = NpzFile(data)
    key = name if name in source.keys else "x"
    stored = source.header(key).shape[1:]
    if not window.count(int(np.prod(stored))):
        raise DataError(f"samples of shape {stored} hold no window of {window.size} elements", where=f"{data}, {key}")
    return Dataset.open(data, {name: stored})


def _single(inputs: Mapping[str, tuple[int, ...]]) -> Mapping[str, tuple[int, ...]]:
    if len(inputs) != 1:
        raise DataError(f"windows for a model with {len(inputs)} inputs", where="--window")
    return inputs


def input_batches(
    dataset: Dataset, samples: Mapping[str, tuple[int, ...]], window: Window | None, batch_size: int
) -> Iterator[dict[str, Array]]:
    """Batches of about `batch_size` model inputs, name -> (samples, windows, *shape)."""
    if window is None:
        for batch in dataset.batches(batch_size):
            yield {name: rows[:, np.newaxis] for name, rows in batch.items()}
        return
    ((name, shape),) = samples.items()
    for batch in dataset.batches(max(batch_size // windows_per_sample(dataset, window), 1)):
        yield {name: window.cut(batch[name], shape)}


def windows_per_sample(dataset: Dataset, window: Window | None) -> int:
    """How many model inputs one sample of the data holds."""
    if window is None:
        return 1
    (key,) = dataset.keys.values()
    return window.count(int(np.prod(dataset.source.header(key).shape[1:])))
