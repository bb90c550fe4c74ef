"""What is freed goes back to the system, whatever is left above it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from bitsmith.execution.heap import trim_heap

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


FREED = """
import numpy as np
import psutil
from bitsmith.execution.heap import APART, settle_heap

settle_heap()
process, large = psutil.Process(), 2 * APART
np.ones(large + APART, np.int8)
array, above = np.ones(large, np.int8), np.ones(1 << 16, np.int8)
before = process.memory_info().rss
del array
print(before - process.memory_info().rss, large)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone")
def test_large_arrays_go_back_at_once_though_a_larger_one_was_freed_before() -> None:
    """In a process whose heap has no free room of that size, which would serve an array before the system does."""
    if "musl" in Path("/proc/self/maps").read_text():
        pytest.skip("the C library is not glibc")
    said = subprocess.run([sys.executable, "-c", FREED], check=True, capture_output=True, text=True).stdout
    gone, large = map(int, said.split())
    assert gone > large // 2
