"""Puts what a benchmark printed into the page that holds its results: new tables for old, the prose around them kept.

usage: python -m tests.benchmarks.NAME | python -m tests.benchmarks.results tests/benchmarks/NAME.md

For benchmarks that print tables and leave the words to people, who read them again after a run, for the figures that
they tell. A page that is not there yet begins with what the benchmark says it is.
"""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path


def main() -> None:
    """Rewrite the page."""
    page = Path(sys.argv[1])
    printed = sys.stdin.read()
    text = replaced(page.read_text(encoding="utf-8"), printed) if page.exists() else begun(page, printed)
    page.write_text(text, encoding="utf-8")


def replaced(page: str, printed: str) -> str:
    """The page with each table replaced by the one that was printed in its place; exits where they are not as many."""
    tables = [lines for is_table, lines in _runs(printed) if is_table]
    parts = list(_runs(page))
    if len(tables) != sum(is_table for is_table, _ in parts):
        sys.exit(f"{len(tables)} tables were printed, for a page of {sum(is_table for is_table, _ in parts)}")
    new = iter(tables)
    lines = [line for is_table, old in parts for line in (next(new) if is_table else old)]
    return "\n".join(lines) + "\n"


def begun(page: Path, printed: str) -> str:
    """A new page: the benchmark's own first sentence, and all that it printed."""
    summary = (ast.get_docstring(ast.parse(page.with_suffix(".py").read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    title = page.stem.replace("_", " ").capitalize()
    return f"# {title}\n\nWhat `python -m tests.benchmarks.{page.stem}` measured. {summary}\n\n{printed.strip()}\n"


def _runs(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Lines of tables and lines between them, in turn."""
    for is_table, lines in itertools.groupby(text.splitlines(), key=lambda line: line.startswith("|")):
        yield is_table, list(lines)


if __name__ == "__main__":
    main()
