"""Batches of an activation, kept until they are read again: in memory, or on disk once that is full."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Room:
    """How many bytes of batches may stay in memory, for all spools together."""

    def __init__(self, limit: int) -> None:
        self.left = limit


class Spool:
    """A sequence of arrays that is written once and read in the same order any number of times."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._held: list[Array | tuple[int, tuple[int, ...], np.dtype[Any]]] = []
        self._file: BinaryIO | None = None

    def append(self, batch: Array) -> None:
        if 0 < batch.nbytes <= self._room.left:
            self._room.left -= batch.nbytes
            self._held.append(_copied(batch))
            return
        if self._file is None:
            # A file without a name: it is gone with the process, however that ends.
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
        place = self._file.seek(0, 2)
        np.ascontiguousarray(batch).tofile(self._file)
        self._held.append((place, batch.shape, batch.dtype))

    def __iter__(self) -> Iterator[Array]:
        for held in self._held:
            yield held if isinstance(held, np.ndarray) else self._read(*held)

    def __len__(self) -> int:
        return len(self._held)

    def close(self) -> None:
        """Give the memory and the file back."""
        self._room.left += sum(held.nbytes for held in self._held if isinstance(held, np.ndarray))
        self._held.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self, place: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        assert self._file is not None
        self._file.seek(place)
        count = int(np.prod(shape, dtype=np.int64))
        return np.fromfile(self._file, dtype, count).reshape(shape)


def _copied(batch: Array) -> Array:
    """The batch in pages of its own, which the system has back as soon as it is forgotten.

    malloc would put it between what steps free again at once, and could then give back neither: with batches of some
    megabytes, more than half of the heap stayed empty.
    """
    kept = np.frombuffer(mmap.mmap(-1, batch.nbytes, access=mmap.ACCESS_COPY), batch.dtype).reshape(batch.shape)
    kept[...] = batch
    return kept
