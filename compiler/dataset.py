"""Calibration and evaluation data: held to what the model takes, and streamed as float32 batches.

A data file is an .npz with one array per model input, its rows being samples, under the input's name, or `x`
where the model has one input; and labels as `y` where there are any. Where it has `mean` and `std`, a stored
value v stands for the model input (float32(v) - mean) / std.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitsmith.arrays import ArraySource, MemoryArrays, missing_key, refuse_dtype_outside, show_shape
from bitsmith.errors import DataError
from bitsmith.normalization import Float32Array, Normalization
from bitsmith.npz import NpzFile

LABELS = "y"
NORMALIZATION = ("mean", "std")

BATCH_LIMIT = 2**30
"""Bytes one batch may take, stored and converted together."""


@dataclass(frozen=True)
class Dataset:
    """Samples for a model, in the order they are stored, with the labels and other arrays that go with them.

    source:        where the arrays come from.
    keys:          model input name -> key in the source.
    samples:       how many of the source's rows are used, from the first.
    normalization: from stored values to model inputs, where they differ.
    """

    source: ArraySource
    keys: Mapping[str, str]
    samples: int
    normalization: Normalization | None

    @classmethod
    def open(cls, path: str | os.PathLike[str], inputs: Mapping[str, tuple[int, ...]]) -> Dataset:
        """The data in the .npz file at `path`, for a model with these `inputs`: name -> shape of one sample.

        Reads headers, `mean` and `std` only. Raises DataError for whatever does not fit.
        """
        return cls._of(NpzFile(path), inputs)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, ArrayLike], inputs: Mapping[str, tuple[int, ...]] | None = None
    ) -> Dataset:
        """The data in `arrays`, by the same rules as those of a file.

        Without `inputs`, every array but `y`, `mean` and `std` is an input, with the sample shape it has.
        """
        source = MemoryArrays(arrays)
        if inputs is None:
            names = [key for key in source.keys if key not in (LABELS, *NORMALIZATION)]
            inputs = {name: source.header(name).shape[1:] for name in names}
        return cls._of(source, inputs)

    @classmethod
    def from_source(cls, source: ArraySource, inputs: Mapping[str, tuple[int, ...]]) -> Dataset:
        """The data in any source of arrays, by the same rules as those of a file."""
        return cls._of(source, inputs)

    @classmethod
    def _of(cls, source: ArraySource, inputs: Mapping[str, tuple[int, ...]]) -> Dataset:
        if not inputs:
            raise DataError("no array for a model input", where=source.name, fix="Save the model's input as 'x'")
        keys = {name: _key_of(source, name, alone=len(inputs) == 1) for name in inputs}
        counts = {key: _samples(source, key, inputs[name]) for name, key in keys.items()}
        if LABELS in source.keys and LABELS not in counts:
            counts[LABELS] = _length(source, LABELS)
        if len(set(counts.values())) > 1:
            raise DataError(
                "different numbers of samples: " + ", ".join(f"{key} has {n}" for key, n in counts.items()),
                where=source.name,
                fix="Save one row per sample in each, in the same order",
            )
        normalized = any(key in source.keys and key not in keys.values() for key in NORMALIZATION)
        normalization = Normalization.read(source, inputs) if normalized else None
        return cls(source, keys, next(iter(counts.values())), normalization)

    def __len__(self) -> int:
        return self.samples

    def take(self, samples: int) -> Dataset:
        """The first `samples` samples, or all of them where there are fewer.

        What lies behind them in a file is then not read, and so not checked either.
        """
        if samples < 1:
            raise DataError(f"{samples} samples asked for", where=self.source.name, fix="Ask for at least one")
        return replace(self, samples=min(samples, self.samples))

    def batches(self, batch_size: int) -> Iterator[dict[str, Float32Array]]:
        """Batches of model inputs, name -> float32 (n, ...), n = `batch_size` but for a shorter last one.

        Every batch is new memory, the caller's to keep or overwrite, and the only memory that depends on
        the data. Raises DataError for a NaN or infinity when its batch is read.
        """
        if batch_size < 1:
            raise DataError(f"a batch of {batch_size} samples", where=self.source.name, fix="Ask for at least one")
        rows = min(batch_size, self.samples)
        headers = [self.source.header(key) for key in self.keys.values()]
        sample_bytes = sum(math.prod(header.shape[1:]) * (header.dtype.itemsize + 4) for header in headers)
        if rows * sample_bytes > BATCH_LIMIT:
            raise DataError(
                f"a batch of {rows} samples takes {rows * sample_bytes} bytes; the limit is {BATCH_LIMIT}",
                where=self.source.name,
                fix=f"Use batches of at most {BATCH_LIMIT // sample_bytes} samples",
            )
        return self._stream(rows)

    def _stream(self, batch_size: int) -> Iterator[dict[str, Float32Array]]:
        streams = [self.source.rows(key, batch_size, self.samples) for key in self.keys.values()]
        first = 0
        for stored in zip(*streams, strict=True):
            batch = {}
            for (name, key), values in zip(self.keys.items(), stored, strict=True):
                batch[name] = self._converted(key, values, first)
            first += len(stored[0])
            yield batch

    def _converted(self, key: str, values: NDArray[Any], first: int) -> Float32Array:
        # Overflow turns into an infinity, which is refused below with its place.
        with np.errstate(over="ignore", invalid="ignore"):
            batch: Float32Array = values.astype(np.float32, copy=False)
            if self.normalization is not None:
                self.normalization.apply(batch)
        _refuse_non_finite(batch, first, f"{self.source.name}, {key}")
        return batch

    @property
    def has_labels(self) -> bool:
        """Whether the data has labels."""
        return LABELS in self.source.keys and LABELS not in self.keys.values()

    def labels(self) -> NDArray[Any]:
        """The labels of the samples, (samples, ...) in their stored dtype, all of them numbers and finite."""
        if not self.has_labels:
            raise DataError("no labels", where=self.source.name, fix=f"Save them as {LABELS!r}, one row per sample")
        labels = self.array(LABELS)
        refuse_dtype_outside("biuf", labels.dtype, f"{self.source.name}, {LABELS}")
        _refuse_non_finite(labels, 0, f"{self.source.name}, {LABELS}")
        return labels

    def array(self, key: str) -> NDArray[Any]:
        """Another array with one row per sample, such as identities: (samples, ...) of numbers or strings."""
        where = f"{self.source.name}, {key}"
        refuse_dtype_outside("biufUS", self.source.header(key).dtype, where)
        rows = _length(self.source, key)
        stored = _length(self.source, next(iter(self.keys.values())))
        if rows != stored:
            raise DataError(
                f"{rows} rows for {stored} samples",
                where=where,
                fix="Save one row per sample, in the same order",
            )
        return self.source.load(key)[: self.samples]

    def sha256(self) -> str:
        """The SHA-256 of the whole source, in hexadecimal: of the file, or of the arrays in memory."""
        return self.source.sha256()


def _key_of(source: ArraySource, name: str, *, alone: bool) -> str:
    """The key that holds model input `name`."""
    wanted = [name, "x"] if alone and name != "x" else [name]
    for key in wanted:
        if key in source.keys:
            return key
    raise missing_key(wanted, source.keys, source.name)


def _length(source: ArraySource, key: str) -> int:
    shape = source.header(key).shape
    if not shape:
        raise DataError(
            "a single value", where=f"{source.name}, {key}", fix="Save one row per sample, in the same order"
        )
    return shape[0]


def _samples(source: ArraySource, key: str, expected: tuple[int, ...]) -> int:
    """How many samples of shape `expected` array `key` holds."""
    header, where = source.header(key), f"{source.name}, {key}"
    refuse_dtype_outside("iuf", header.dtype, where)
    if header.shape[1:] != expected or not header.shape:
        raise DataError(
            f"the model takes samples of shape {expected}, so {key} must be {show_shape(('n', *expected))}; "
            f"found {show_shape(header.shape)}",
            where=where,
            fix=_how_to_fit(key, header.shape, expected),
        )
    if header.shape[0] == 0:
        raise DataError("no samples", where=where, fix="Save at least one")
    return header.shape[0]


def _how_to_fit(key: str, found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """What turns an array of shape `found` into one with samples of shape `expected`, as an instruction."""
    if found == expected:
        return f"It looks like one sample: save {key}[numpy.newaxis]"
    if sorted(found[1:]) == sorted(expected) and len(expected) <= 6:
        for axes in itertools.permutations(range(1, len(found))):
            if tuple(found[axis] for axis in axes) == expected:
                return f"The axes are in another order: save {key}.transpose{(0, *axes)}"
    if math.prod(found[1:]) == math.prod(expected) and found:
        return f"The sizes agree: if the element order does too, save {key}.reshape{(found[0], *expected)}"
    return "Prepare the samples as the model was trained on them, the first axis counting samples"


def _refuse_non_finite(values: NDArray[Any], first: int, where: str) -> None:
    """Refuse a NaN or infinity in `values` (n, ...), the first of which is sample `first`."""
    if values.dtype.kind in "US" or np.isfinite(values).all():
        return
    sample = int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(axis=1)))
    found = "NaN" if np.isnan(values[sample]).any() else "infinity, or a value too large for float32,"
    raise DataError(
        f"{found} in sample {first + sample}", where=where, fix="Remove the sample or repair how it was made"
    )
