"""How long work says how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done, how much of it is done and how much there is in all (0: unknown).

    Work that takes long without a word, another program's say, is told of before it begins: `(task, 0, 0)`.
    """

    def __call__(self, task: str, done: int, total: int) -> None: ...


def silent(task: str, done: int, total: int) -> None:
    """Say nothing."""
