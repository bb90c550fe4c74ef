"""How many threads the linear algebra may take."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> AbstractContextManager[Any]:
    """Within this context numpy's BLAS runs on the calling thread alone, in the whole process.

    The products of a small model are over in less time than it takes to wake a thread: on two idle cores a
    second thread gains a fifth, and where anything else is running it costs ten times what it gains, since
    BLAS waits for its threads by spinning.
    """
    limit: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limit


_most: list[int] = []


def limit_session_threads(most: int) -> None:
    """From now on, ONNX Runtime computes an operator on at most so many threads, in this whole process.

    For processes that work side by side, one a core: there a thread per core each is many too many.
    """
    _most[:] = [most]


def session_threads(wanted: int) -> int:
    """How many threads a session gets that wants so many; 0 is one per core."""
    return min(wanted or _most[0], _most[0]) if _most else wanted


@cache
def _controller() -> ThreadpoolController:
    """Made once: to find numpy's BLAS, it looks through every library that is loaded."""
    return ThreadpoolController()
