"""Keep what a C library prints off the standard output, which is for results."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STDOUT = 1


@contextmanager
def silent_stdout() -> Iterator[None]:
    """Send the process's standard output nowhere; for code in C alone, since no other thread may print meanwhile.

    HiGHS, as scipy builds it, writes lines of debugging there whatever its options say.
    """
    sys.stdout.flush()
    _flush()
    try:
        kept = os.dup(STDOUT)
    except OSError:
        # There is no standard output to keep clean.
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), STDOUT)
    try:
        yield
    finally:
        _flush()
        os.dup2(kept, STDOUT)
        os.close(kept)


def _flush() -> None:
    """Write out what C's own streams hold back, where the C library can be reached."""
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)
