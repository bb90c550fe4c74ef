"""What is freed goes back to the system, whatever is left above it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from bitsmith.execution.heap import APART, settle_heap, trim_heap

EACH, COUNT = 64 << 10, 1024


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone")
def test_what_is_free_between_arrays_that_stay_goes_back() -> None:
    if "musl" in Path("/proc/self/maps").read_text():
        pytest.skip("the C library is not glibc")
    process = psutil.Process()
    arrays = [np.ones(EACH, np.int8) for _ in range(COUNT)]
    kept = arrays[COUNT - 1 :: -8]
    del arrays
    before = process.memory_info().rss
    trim_heap()
    assert before - process.memory_info().rss > EACH * COUNT // 2
    assert all(array.all() for array in kept)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone")
def test_large_arrays_go_back_at_once_whatever_was_freed_before() -> None:
    if "musl" in Path("/proc/self/maps").read_text():
        pytest.skip("the C library is not glibc")
    settle_heap()
    process, large = psutil.Process(), 2 * APART
    np.ones(large + APART, np.int8)
    array, above = np.ones(large, np.int8), np.ones(EACH, np.int8)
    before = process.memory_info().rss
    del array
    assert before - process.memory_info().rss > large // 2
    assert above.all()
