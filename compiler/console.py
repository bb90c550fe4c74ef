"""What a person at a terminal sees: progress with the time left, colour, and columns."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

QUIET = 2.0
"""Seconds that a task may take before a word is said about it."""

EVERY = {True: 0.1, False: 5.0}
"""Seconds between two words about a task: on a terminal, where they replace each other, and elsewhere."""


class ProgressLine:
    """A Progress that says how far a task is and how long it still takes: one line on a terminal, rewritten;
    elsewhere a plain line every few seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._terminal = stream.isatty()
        self._task = ""
        self._start = self._said = clock()
        self._width = 0

    def __call__(self, task: str, done: int, total: int) -> None:
        """Take note that `done` of `total` is done, and say so if it is time to."""
        now = self._clock()
        if task != self._task:
            self.clear()
            self._task, self._start, self._said = task, now, now
        elapsed = now - self._start
        is_last = total > 0 and done >= total
        is_first_word = self._said == self._start
        if elapsed < QUIET or (now - self._said < EVERY[self._terminal] and not is_first_word and not is_last):
            return
        self._said = now
        self._say(_progress(task, done, total, elapsed))
        if is_last:
            self.clear()
            self._task = ""

    def clear(self) -> None:
        """Wipe the line that stands on the terminal, so that other text may follow."""
        if self._terminal and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
        self._width = 0

    def _say(self, text: str) -> None:
        if self._terminal:
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


def _progress(task: str, done: int, total: int, elapsed: float) -> str:
    if not total:
        return f"{task}: {done} done, {duration(elapsed)} so far"
    if done >= total:
        return f"{task}: {total} done in {duration(elapsed)}"
    left = f", {duration(elapsed * (total - done) / done)} left" if done else ""
    return f"{task}: {done} of {total} ({100 * done // total} %){left}"


def duration(seconds: float) -> str:
    """A duration for people: `0.3 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """The text in a colour, where the stream is a terminal that may show one (https://no-color.org)."""
    stream = stream or sys.stdout
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{_COLOURS[colour]}m{text}\033[0m"


_COLOURS = {"red": "31", "green": "32", "yellow": "33", "bold": "1"}


def columns(rows: Iterable[Sequence[str]], indent: int = 2) -> list[str]:
    """Rows as lines whose columns line up; the last column is left as it is."""
    table = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1]
    return [(" " * indent + "  ".join([*map(str.ljust, row, widths), row[-1]])).rstrip() for row in table]
