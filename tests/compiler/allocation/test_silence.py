"""What C prints while it is to be silent is lost; what is printed before and after is not."""

import ctypes
import os

import pytest

from bitsmith.allocation.silence import silent_stdout


@pytest.mark.skipif(os.name != "posix", reason="reaches the C library as POSIX systems have it")
def test_only_what_is_printed_meanwhile_is_lost(capfd: pytest.CaptureFixture[str]) -> None:
    c = ctypes.CDLL(None)
    print("before")
    c.puts(b"buffered before")
    with silent_stdout():
        c.puts(b"meanwhile")
        os.write(1, b"at once\n")
    print("after")
    c.fflush(None)
    assert capfd.readouterr().out == "before\nbuffered before\nafter\n"


def test_an_error_gives_the_output_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="inside"), silent_stdout():
        raise ValueError("inside")
    print("heard")
    assert capfd.readouterr().out == "heard\n"
