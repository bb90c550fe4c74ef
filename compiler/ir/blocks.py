"""Large arrays worked on a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

BLOCK = 1 << 18
"""Elements of a block. A weight in a wider type is several times what it was, and pages that a process has not had
before cost more than what is computed in them."""


def blocks(rows: int, elements: int, block: int = BLOCK) -> Iterator[slice]:
    """Slices that cut `rows` rows of `elements` elements in all into blocks of at most `block`, or of one row each."""
    few = max(1, block * rows // max(elements, 1))
    for start in range(0, rows, few):
        yield slice(start, start + few)
