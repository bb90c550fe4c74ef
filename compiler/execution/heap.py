"""How the C library keeps memory that was freed, and what of it is given back to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's numbers of what `mallopt` sets."""

KEPT = 64 << 20
"""Bytes at the end of the heap that stay the process's own when they are freed."""

APART = 8 << 20
"""Bytes from which an array has pages of its own, which the system has back at once."""


def settle_heap() -> None:
    """Let arrays below `APART` bytes have the memory of those before them, where the C library is glibc.

    By itself it draws that line, and the one from which the end of the heap is given back, at what was freed so far;
    arrays above 32 MiB never count. A model of such weights, worked on in blocks of some megabytes, had the system
    hand out and take back the pages of every block: half of the time of a compile.
    """
    settle = _of_c_library("mallopt")
    if settle is not None:
        settle(M_TRIM_THRESHOLD, KEPT)
        settle(M_MMAP_THRESHOLD, APART)


def trim_heap() -> None:
    """Give all pages of the heap that hold nothing back to the system, where the C library is glibc.

    By itself it gives back what is free at the heap's end alone. A step that works in large temporary arrays and
    leaves a small one behind, above them, would keep their room for good; the next such step, in arrays of other
    sizes, takes more beside it.
    """
    trim = _of_c_library("malloc_trim")
    if trim is not None:
        trim(0)


@cache
def _of_c_library(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
