"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache


def trim_heap() -> None:
    """Give all pages of the heap that hold nothing back to the system, where the C library is glibc.

    By itself it gives back what is free at the heap's end alone. A step that works in large temporary arrays and
    leaves a small one behind, above them, would keep their room for good; the next such step, in arrays of other
    sizes, takes more beside it.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
