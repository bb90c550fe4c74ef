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


@cache
def _controller() -> ThreadpoolController:
    """Made once: to find numpy's BLAS, it looks through every library that is loaded."""
    return ThreadpoolController()
