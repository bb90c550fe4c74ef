"""What a person at a terminal sees: progress with the time left, colour, and columns."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

from bitsmith.printable import printable

QUIET = 2.0
"""Seconds that may pass before a word is said about what is done."""

EVERY = 0.1
"""Seconds between two words about a task, where progress is made."""

TICK = 1.0
"""Seconds between two words about a task that tells nothing of itself, such as another program that runs."""


class ProgressLine:
    """A Progress that says how far a task is and how long it still takes, in one line of a terminal, rewritten.

    The line is there while a task takes: it goes on ticking where nothing is heard of it. Elsewhere than on a terminal
    nothing is said: a log, or another program, has no use for it.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self.is_shown = stream.isatty()
        self._task = ""
        self._done = self._total = 0
        # The last task that was told of before it began, and when: what others are parts of.
        self._whole = ("", clock())
        # When the task began and was last heard of, and when anything was last written.
        self._start = self._heard = self._said = clock()
        self._width = 0
        self._ended = threading.Event()
        self._ticker: threading.Thread | None = None
        self._turn = threading.RLock()

    def __call__(self, task: str, done: int, total: int) -> None:
        """Take note that `done` of `total` is done, and say so if it is time to."""
        if not self.is_shown:
            return
        with self._turn:
            now = self._clock()
            if task != self._task:
                self._task, self._start = task, now
            self._done, self._total, self._heard = done, total, now
            if done == total == 0:
                self._whole = (task, self._start)
            is_last = 0 < total <= done
            if self._is_time(now, EVERY) or (is_last and self._width):
                self._say(now)
            if is_last:
                self._wipe()
                self._task, self._start = self._whole
                self._done = self._total = 0
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()

    def tick(self) -> None:
        """Say how long the task has taken, if nothing was said for a while."""
        with self._turn:
            now = self._clock()
            if self._task and self._is_time(now, TICK):
                self._say(now)

    def _is_time(self, now: float, every: float) -> bool:
        """Whether the line is to be rewritten, or after a silence to appear, of however many short tasks that was."""
        return now - self._said >= (every if self._width else QUIET)

    def write(self, text: str) -> None:
        """Write a line that stays, above the one that is rewritten."""
        with self._turn:
            self._wipe()
            self._stream.write(text + "\n")
            self._stream.flush()
            self._said = self._clock()

    def end(self) -> None:
        """Wipe the line, for good: other text follows."""
        self._ended.set()
        with self._turn:
            self._wipe()
            self._task = ""

    def _tick(self) -> None:
        # An interrupt is for the thread that waits for something.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not self._ended.wait(TICK / 2):
            self.tick()

    def _wipe(self) -> None:
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._said = self._clock()
        self._width = 0

    def _say(self, now: float) -> None:
        self._said = now
        text = _progress(self._task, self._done, self._total, self._heard - self._start, now - self._heard)
        # A line that is wider than the terminal would be broken in two, of which one stays.
        text = printable(text)[: shutil.get_terminal_size().columns - 1]
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()
        self._width = len(text)


def _progress(task: str, done: int, total: int, heard: float, since: float) -> str:
    """What to say `since` seconds after the last word of a task, which came after `heard` seconds."""
    elapsed = f", {duration(heard + since)} so far" if heard + since >= 1 else ""
    if not total:
        return f"{task}: {done} done{elapsed}" if done else f"{task}{elapsed}"
    if done >= total:
        return f"{task}: {total} done in {duration(heard)}"
    left = heard * (total - done) / done - since if done else 0.0
    when = f", {duration(left)} left" if left > 0 else elapsed
    return f"{task}: {done} of {total} ({100 * done // total} %){when}"


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
    stream, text = stream or sys.stdout, printable(text)
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{_COLOURS[colour]}m{text}\033[0m"


_COLOURS = {"red": "31", "green": "32", "yellow": "33", "bold": "1"}


def columns(rows: Iterable[Sequence[str]], indent: int = 2) -> list[str]:
    """Rows as lines whose columns line up; the last column is left as it is."""
    table = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1]
    return [(" " * indent + "  ".join([*map(str.ljust, row, widths), row[-1]])).rstrip() for row in table]
