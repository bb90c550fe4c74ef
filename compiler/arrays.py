"""Named arrays that are read a few rows at a time, whether they lie in a file or in memory."""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitsmith.errors import DataError


@dataclass(frozen=True)
class ArrayHeader:
    """What is known of an array before its elements are read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of all elements; a Python int, so a shape made to overflow cannot."""
        return math.prod(self.shape) * self.dtype.itemsize


class ArraySource(Protocol):
    """Named arrays, rows being samples; every method raises DataError for a key that is absent."""

    @property
    def name(self) -> str:
        """What errors call this source."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of its arrays."""

    def header(self, key: str) -> ArrayHeader:
        """The shape and dtype of array `key`."""

    def rows(self, key: str, batch_size: int, samples: int) -> Iterator[NDArray[Any]]:
        """The first `samples` rows of array `key`, in order, `batch_size` at a time; the last may be shorter.

        Yields C-ordered arrays (n, ...) of the stored dtype, each freshly allocated and the caller's to keep.
        """

    def load(self, key: str) -> NDArray[Any]:
        """The whole of array `key`, which the caller must not write to."""

    def sha256(self) -> str:
        """The SHA-256 of all there is, in hexadecimal."""


class MemoryArrays:
    """An ArraySource of arrays that are in memory already; it neither copies nor changes them."""

    name = "arrays in memory"

    def __init__(self, arrays: Mapping[str, ArrayLike]) -> None:
        self._arrays = {key: self._array(key, values) for key, values in arrays.items()}
        self.keys = tuple(self._arrays)

    def header(self, key: str) -> ArrayHeader:
        """The shape and dtype of array `key`."""
        array = self.load(key)
        return ArrayHeader(array.shape, array.dtype)

    def rows(self, key: str, batch_size: int, samples: int) -> Iterator[NDArray[Any]]:
        """Copies of the first `samples` rows of array `key`, `batch_size` at a time."""
        array = self.load(key)
        for start in range(0, samples, batch_size):
            yield np.array(array[start : min(start + batch_size, samples)], order="C")

    def load(self, key: str) -> NDArray[Any]:
        """Array `key` itself."""
        if key not in self._arrays:
            raise missing_key([key], self.keys, self.name)
        return self._arrays[key]

    def sha256(self) -> str:
        """The SHA-256 of names, dtypes, shapes and elements, whatever the order the arrays were given in."""
        digest = hashlib.sha256()
        for key, array in sorted(self._arrays.items()):
            digest.update(f"{key!r} {array.dtype.str} {array.shape}\n".encode())
            digest.update(element_bytes(np.ascontiguousarray(array)))
        return digest.hexdigest()

    def _array(self, key: str, values: ArrayLike) -> NDArray[Any]:
        where = f"{self.name}, {key}"
        try:
            array = np.asarray(values)
        except (ValueError, TypeError) as reason:
            raise DataError(f"not an array: {reason}", where=where, fix="Give rows of one shape") from reason
        if array.dtype.hasobject:
            raise DataError("holds Python objects", where=where, fix="Give an array of numbers")
        return array


def element_bytes(array: NDArray[Any]) -> memoryview:
    """The elements of a C-contiguous array as bytes, without a copy."""
    return array.reshape(-1).view(np.uint8).data


def missing_key(wanted: Sequence[str], keys: Sequence[str], where: str) -> DataError:
    """The error for a source with none of the `wanted` keys: it names those it has, and the nearest."""
    nearest = difflib.get_close_matches(wanted[0], keys, n=1)
    hint = f" (it may be the one named {nearest[0]!r})" if nearest else ""
    return DataError(
        f"no array named {' or '.join(map(repr, wanted))}; it holds {', '.join(keys) or 'no arrays'}",
        where=where,
        fix=f"Save the array as {wanted[0]!r}{hint}",
    )


def refuse_dtype_outside(kinds: str, dtype: np.dtype[Any], where: str) -> None:
    """Refuse a dtype of none of numpy's `kinds`: b bool, i signed, u unsigned, f float, U and S strings."""
    if dtype.kind not in kinds or dtype.itemsize == 0:
        raise DataError(f"dtype {dtype} is not real numbers", where=where, fix="Save it as float32 or integers")


def show_shape(dimensions: Sequence[int | str]) -> str:
    """A shape as Python writes it, but for dimensions that have a name."""
    return f"({', '.join(map(str, dimensions))}{',' if len(dimensions) == 1 else ''})"
