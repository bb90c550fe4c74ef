"""Progress on a terminal and elsewhere, by a clock that the test turns."""

import io
import threading

import pytest

from bitsmith.console import ProgressLine, columns, duration, paint


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def line(clock: Clock) -> tuple[ProgressLine, Terminal]:
    """A line whose own ticking is put off for good, on a terminal."""
    stream = Terminal()
    progress = ProgressLine(stream, clock)
    progress.end()
    return progress, stream


def shown(stream: Terminal) -> list[str]:
    """What stood in the line, one text after the other."""
    return [text.rstrip() for text in stream.getvalue().split("\r") if text.strip()]


def test_what_is_over_in_two_seconds_is_not_worth_a_word() -> None:
    clock = Clock()
    progress, stream = line(clock)
    for done in range(11):
        clock.now = done * 0.19
        progress("calibrate", done, 10)
        progress.tick()
    assert stream.getvalue() == ""


def test_elsewhere_than_on_a_terminal_nothing_is_said() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = ProgressLine(stream, clock)
    for done in range(101):
        clock.now = done * 0.1
        progress("calibrate", done, 100)
        progress.tick()
    assert stream.getvalue() == ""


def test_a_terminal_has_one_line_that_is_wiped_at_the_end() -> None:
    clock = Clock()
    progress, stream = line(clock)
    for done in range(5):
        clock.now = done * 1.0
        progress("calibrate", done, 4)
    assert "\n" not in stream.getvalue()
    assert shown(stream) == [
        "calibrate: 2 of 4 (50 %), 2.0 s left",
        "calibrate: 3 of 4 (75 %), 1.0 s left",
        "calibrate: 4 done in 4.0 s",
    ]
    assert stream.getvalue().endswith("\r")


def test_the_line_goes_on_where_nothing_is_heard() -> None:
    clock = Clock()
    progress, stream = line(clock)
    progress("g++", 0, 0)
    for clock.now in (1.0, 2.5, 3.0, 4.0):
        progress.tick()
    progress("verify", 0, 20)
    clock.now = 7.0
    progress("verify", 10, 20)
    for clock.now in (9.0, 11.0):
        progress.tick()
    assert shown(stream) == [
        "g++, 2.5 s so far",
        "g++, 4.0 s so far",
        "verify: 10 of 20 (50 %), 3.0 s left",
        "verify: 10 of 20 (50 %), 1.0 s left",
        "verify: 10 of 20 (50 %), 7.0 s so far",
    ]


def test_the_line_ticks_by_itself() -> None:
    class Seen(Terminal):
        said = threading.Event()

        def write(self, text: str) -> int:
            self.said.set()
            return super().write(text)

    clock, stream = Clock(), Seen()
    progress = ProgressLine(stream, clock)
    progress("g++", 0, 0)
    clock.now = 3.0
    assert stream.said.wait(timeout=60)
    progress.end()
    assert shown(stream) == ["g++, 3.0 s so far"]


def test_text_that_stays_goes_above_the_line() -> None:
    clock = Clock()
    progress, stream = line(clock)
    progress("calibrate", 0, 4)
    clock.now = 3.0
    progress("calibrate", 3, 4)
    progress.write("fold-batch-norm 3 changed")
    progress.end()
    said = "calibrate: 3 of 4 (75 %), 1.0 s left"
    assert stream.getvalue() == f"\r{said}\r{' ' * len(said)}\rfold-batch-norm 3 changed\n"


def test_a_line_is_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    clock = Clock()
    progress, stream = line(clock)
    progress("a task of a long name", 0, 0)
    clock.now = 3.0
    progress.tick()
    assert shown(stream) == ["a task of a long na"]


def test_an_unknown_total_has_no_time_left() -> None:
    clock = Clock()
    progress, stream = line(clock)
    progress("search", 0, 0)
    clock.now = 3.0
    progress("search", 7, 0)
    assert shown(stream) == ["search: 7 done, 3.0 s so far"]


def test_a_new_task_starts_its_own_clock() -> None:
    clock = Clock()
    progress, stream = line(clock)
    progress("one", 0, 2)
    clock.now = 3.0
    progress("two", 1, 2)
    clock.now = 3.5
    progress("two", 1, 4)
    assert shown(stream) == ["two: 1 of 2 (50 %)", "two: 1 of 4 (25 %), 1.5 s left"]


def test_what_a_task_is_a_part_of_goes_on_behind_it() -> None:
    clock = Clock()
    progress, stream = line(clock)
    progress("allocate-bits", 0, 0)
    progress("ask for sizes", 0, 1)
    clock.now = 1.0
    progress("ask for sizes", 1, 1)
    clock.now = 3.0
    progress.tick()
    assert shown(stream) == ["allocate-bits, 3.0 s so far"]


def test_many_short_tasks_in_a_row_are_no_silence() -> None:
    clock = Clock()
    progress, stream = line(clock)
    for index in range(5):
        progress(f"pass {index}", 0, 0)
        clock.now += 0.9
        progress.tick()
    assert shown(stream) == ["pass 2", "pass 4"]


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
