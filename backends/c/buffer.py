"""What is placed in the arena, and what of it may overlap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Buffer:
    """Bytes that are in use from step `first` to step `last`, both included."""

    name: str
    bytes: int
    first: int
    last: int
    alignment: int = 4

    @property
    def size(self) -> int:
        """The bytes, rounded up to whole words."""
        return -(-self.bytes // 4) * 4

    def lives_with(self, other: Buffer) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Overlap:
    """A step writes `written` and reads `read` for the last time; they may overlap where the first byte of `written`
    lies at least `gap` bytes before that of `read`; without a gap, only where both begin at the same byte."""

    written: str
    read: str
    gap: int | None


Gaps = Mapping[tuple[str, str], int | None]


def whole_words(gap: int | None) -> int | None:
    """A gap as buffers that begin at words keep it."""
    return None if gap is None else -(-gap // 4) * 4
