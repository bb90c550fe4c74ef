"""Read arrays from an .npz file a few rows at a time, without trusting the file.

An .npz is a zip with one .npy member per array. A .npy is a magic string, a header (a Python literal that
gives shape, dtype and element order) and the elements. `numpy.load` unpacks a member whole; here its rows are
unpacked as they are asked for, so that memory depends on the batch and not on the number of samples.

The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from bitsmith.arrays import ArrayHeader, element_bytes, missing_key
from bitsmith.errors import DataError

HEADER_LIMIT = 10_000
"""Bytes of .npy header, numpy's own bound for a literal that is safe to parse; a plain array's takes 118."""

WHOLE_LIMIT = 64 * 2**20
"""Bytes of an array that may be loaded whole."""

BOMB, RATIO = 2**30, 200
"""Bytes of an array, and how many times what it takes packed: beyond both it is no data. Zeros are packed 1000 to 1."""

CHUNK = 2**18

# What zipfile and the decompressors under it raise for bytes that no writer of zip files would have made.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OverflowError,
    RuntimeError,  # encrypted
    ValueError,
)

# What Python's literal parser and numpy's dtype parser raise for a literal that is no header.
_UNPARSABLE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    SyntaxError,
    tokenize.TokenError,
    RecursionError,
    MemoryError,  # "((((...": the parser's stack, not the machine's memory
)


@dataclass(frozen=True)
class NpyHeader(ArrayHeader):
    """The header of a .npy member: also the order of its elements, and the byte they start at."""

    fortran_order: bool
    offset: int


class NpzFile:
    """The arrays of one .npz file, by key; each method opens the file for as long as it reads.

    Raises DataError, here and from every method, for a file that is absent, unreadable, truncated, corrupt,
    no .npz, or changed since this object was made. Object arrays (pickles) are never loaded.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.name = str(self.path)
        try:
            self._identity = self._stat()
            if not self.path.is_file():  # reading a pipe would wait for ever, and it cannot be read twice
                raise ValueError("not a regular file")
            with self.path.open("rb") as file:
                magic = file.read(len(npy.MAGIC_PREFIX))
        except (OSError, ValueError) as reason:
            raise self._cannot_read(reason) from reason
        if magic == npy.MAGIC_PREFIX:
            raise DataError(
                "this is one .npy array, not an .npz file",
                where=self.name,
                fix="Save it again: numpy.savez_compressed('data.npz', x=numpy.load('data.npy'))",
            )
        with self._archive() as archive:
            names = archive.namelist()
        self.keys = tuple(name.removesuffix(".npy") for name in names if name.endswith(".npy"))

    def header(self, key: str) -> NpyHeader:
        """The header of array `key`, held to the size of its zip member: equal, byte for byte."""
        if key not in self.keys:
            raise missing_key([key], self.keys, self.name)
        with self._member(key) as (member, size):
            # numpy would read a header of whatever length is claimed; it cannot read past this prefix.
            prefix = io.BytesIO(member.read(HEADER_LIMIT))
        header = self._parse(key, prefix)
        if header.dtype.hasobject:
            raise DataError(
                "holds Python objects (a pickle), which are never loaded",
                where=f"{self.name}, {key}",
                fix="Save it as an array of numbers: numpy.asarray(values, dtype='float32')",
            )
        if min(header.shape, default=0) < 0 or header.offset + header.nbytes != size:
            raise DataError(
                f"shape {header.shape} of {header.dtype} needs {header.nbytes} bytes, but the file holds "
                f"{size - header.offset}",
                where=f"{self.name}, {key}",
                fix="The file is damaged or was not written by numpy.savez: make it again",
            )
        return header

    def rows(self, key: str, batch_size: int, samples: int) -> Iterator[NDArray[Any]]:
        """The first `samples` rows of array `key`, in order, `batch_size` at a time; the last may be shorter.

        Yields C-ordered arrays (n, ...) of the stored dtype, each freshly allocated and the caller's to keep.
        The checksum of the member is compared when its last row is read.
        """
        header = self.header(key)
        starts = range(0, samples, batch_size)
        if header.fortran_order:
            whole = self.load(key)
            for start in starts:
                yield np.array(whole[start : min(start + batch_size, samples)], order="C")
            return
        with self._member(key) as (member, _):
            member.read(header.offset)
            for start in starts:
                batch = np.empty((min(batch_size, samples - start), *header.shape[1:]), header.dtype)
                _fill(member, batch)
                yield batch

    def load(self, key: str) -> NDArray[Any]:
        """The whole of array `key`, of at most `WHOLE_LIMIT` bytes."""
        header = self.header(key)
        if header.nbytes > WHOLE_LIMIT:
            order = "in Fortran order " if header.fortran_order else ""
            raise DataError(
                f"{header.nbytes} bytes {order}cannot be loaded whole; the limit is {WHOLE_LIMIT}",
                where=f"{self.name}, {key}",
                fix=f"Save it in C order, which is read in pieces: numpy.ascontiguousarray({key})"
                if header.fortran_order
                else "Save a smaller array",
            )
        # A Fortran-ordered array is stored as its transpose in C order.
        stored_shape = header.shape[::-1] if header.fortran_order else header.shape
        array = np.empty(stored_shape, header.dtype)
        with self._member(key) as (member, _):
            member.read(header.offset)
            _fill(member, array)
        return array.T if header.fortran_order else array

    def sha256(self) -> str:
        """The SHA-256 of the file's bytes, in hexadecimal."""
        self._refuse_changed()
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as reason:
            raise self._cannot_read(reason) from reason

    def _stat(self) -> tuple[int, int, int]:
        status = self.path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _refuse_changed(self) -> None:
        try:
            unchanged = self._stat() == self._identity
        except OSError as reason:
            raise self._cannot_read(reason) from reason
        if not unchanged:
            raise DataError(
                "changed while it was in use",
                where=self.name,
                fix="Run again with a file that stays as it is",
            )

    def _cannot_read(self, reason: Exception) -> DataError:
        described = reason.strerror if isinstance(reason, OSError) else None
        return DataError(
            f"cannot be read: {described or reason}",
            where=self.name,
            fix="Check the path and its permissions",
        )

    @contextmanager
    def _archive(self) -> Iterator[zipfile.ZipFile]:
        """The open zip file; whatever is wrong with its bytes comes out as a DataError."""
        self._refuse_changed()
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except OSError as reason:
            raise self._cannot_read(reason) from reason
        except _UNREADABLE as reason:
            raise DataError(
                f"not a readable .npz file: {str(reason) or 'it ends too early'}",
                where=self.name,
                fix="It is truncated, damaged or no .npz: copy it again, or write it by numpy.savez",
            ) from reason

    @contextmanager
    def _member(self, key: str) -> Iterator[tuple[IO[bytes], int]]:
        """The unpacked bytes of array `key` and how many the zip file says there are."""
        with self._archive() as archive:
            info = archive.getinfo(f"{key}.npy")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise zipfile.BadZipFile(f"{key} is compressed by a method that numpy never writes")
            if info.file_size > max(BOMB, RATIO * info.compress_size):
                raise zipfile.BadZipFile(f"{key} claims {info.file_size:,} bytes, packed into {info.compress_size:,}")
            with archive.open(info) as member:
                yield member, info.file_size

    def _parse(self, key: str, prefix: IO[bytes]) -> NpyHeader:
        readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        try:
            version = npy.read_magic(prefix)
            if version not in readers:
                raise ValueError(f"version {version} of the format is only for named fields")
            shape, fortran_order, dtype = readers[version](prefix, max_header_size=HEADER_LIMIT)
        except _UNPARSABLE as reason:
            raise DataError(
                f"no .npy header of at most {HEADER_LIMIT} bytes: {reason}",
                where=f"{self.name}, {key}",
                fix="Save the array with numpy.savez_compressed",
            ) from reason
        return NpyHeader(tuple(map(int, shape)), dtype, fortran_order, prefix.tell())


def _fill(member: IO[bytes], array: NDArray[Any]) -> None:
    """Read the bytes of a C-contiguous `array` from `member`, which must hold that many more."""
    target = element_bytes(array)
    filled = 0
    while filled < len(target):
        chunk = member.read(min(CHUNK, len(target) - filled))
        if not chunk:
            raise EOFError
        target[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
