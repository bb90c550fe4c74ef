"""Markdown tables of the benchmarks' files, read back."""

from __future__ import annotations

from collections.abc import Iterator


def tables(text: str) -> Iterator[list[dict[str, str]]]:
    """Every table of a text: a row by the names of its columns."""
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            lines.append(line)
        elif lines:
            header, _, *rows = [[cell.strip() for cell in one.strip("|").split("|")] for one in lines]
            # Cells beyond the header, and columns that a row ends before, are left out, as renderers do.
            yield [dict(zip(header, row, strict=False)) for row in rows]
            lines = []


def number(cell: str) -> float | None:
    """The first number of a cell, thousands parted by commas; None where it has none."""
    first = cell.split(" ")[0].replace(",", "")
    try:
        return float(first)
    except ValueError:
        return None
