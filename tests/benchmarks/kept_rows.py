"""Tables that are measured piece by piece: a file keeps the rows that a run did not measure anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def with_kept_rows(
    path: Path | None, header: Sequence[str], rows: Sequence[Sequence[str]], key: int
) -> list[list[str]]:
    """`rows`, and those of the table with this very header in a Markdown file, if there is one.

    key: how many cells at the start say what a row is of; what was measured anew takes the place of what was, and
    the rest comes behind the last row of the same first cell.
    """
    found = _rows(path.read_text(encoding="utf-8"), header) if path is not None and path.is_file() else []
    for row in map(list, rows):
        same = [place for place, old in enumerate(found) if old[:key] == row[:key]]
        alike = [place for place, old in enumerate(found) if old[0] == row[0]]
        if same:
            found[same[0]] = row
        else:
            found.insert(alike[-1] + 1 if alike else len(found), row)
    return found


def _rows(text: str, header: Sequence[str]) -> list[list[str]]:
    lines = text.splitlines()
    line = "| " + " | ".join(header) + " |"
    if line not in lines:
        return []
    found = []
    for one in lines[lines.index(line) + 2 :]:
        if not one.startswith("| "):
            break
        found.append([cell.strip() for cell in one[1:-1].split("|")])
    return found
