"""Progress on a terminal and elsewhere, by a clock that the test turns."""

import io

import pytest

from bitsmith.console import ProgressLine, columns, duration, paint


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_what_is_over_in_two_seconds_is_not_worth_a_word(stream: io.StringIO) -> None:
    clock = Clock()
    progress = ProgressLine(stream, clock)
    for done in range(11):
        clock.now = done * 0.19
        progress("calibrate", done, 10)
    assert stream.getvalue() == ""


def test_elsewhere_a_line_every_few_seconds_with_the_time_left() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = ProgressLine(stream, clock)
    for done in range(101):
        clock.now = done * 0.1
        progress("calibrate", done, 100)
    assert stream.getvalue().splitlines() == [
        "calibrate: 20 of 100 (20 %), 8.0 s left",
        "calibrate: 70 of 100 (70 %), 3.0 s left",
        "calibrate: 100 done in 10 s",
    ]


def test_a_terminal_has_one_line_that_is_wiped_at_the_end() -> None:
    clock, stream = Clock(), Terminal()
    progress = ProgressLine(stream, clock)
    for done in range(5):
        clock.now = done * 1.0
        progress("calibrate", done, 4)
    assert "\n" not in stream.getvalue()
    shown = [text.rstrip() for text in stream.getvalue().split("\r")]
    assert [text for text in shown if text] == [
        "calibrate: 2 of 4 (50 %), 2.0 s left",
        "calibrate: 3 of 4 (75 %), 1.0 s left",
        "calibrate: 4 done in 4.0 s",
    ]
    assert shown[-1] == ""


def test_an_unknown_total_has_no_time_left() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = ProgressLine(stream, clock)
    progress("search", 0, 0)
    clock.now = 3.0
    progress("search", 7, 0)
    assert stream.getvalue() == "search: 7 done, 3.0 s so far\n"


def test_a_new_task_starts_its_own_clock() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = ProgressLine(stream, clock)
    progress("one", 0, 2)
    clock.now = 3.0
    progress("two", 1, 2)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599.6, "1 h 0 min")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_colour_is_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert paint("x", "red", io.StringIO()) == "x"
    assert paint("x", "red", Terminal()) == "\033[31mx\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "red", Terminal()) == "x"


def test_columns_line_up() -> None:
    assert columns([("a", "bb", "c"), ("aaa", "b", "")]) == ["  a    bb  c", "  aaa  b"]
