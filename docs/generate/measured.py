"""The page of benchmarks: what was measured, when, and by which command."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import PurePosixPath

from docs.generate.docstrings import plain
from docs.generate.repository import ROOT, Borrowed, dated, title_of

OVERVIEW, FIGURES = "overview", "figures"
_INTRODUCTION = """\
---
hide: [toc]
---
# Measured

The tables on these pages were written by commands of the repository, none by hand. `make bench` runs all of them and
writes the files that the pages are made of; `python -m tests.benchmarks.NAME` runs one. A date is that of the commit
that changed the file last."""
_HEADER = ("| page | what | `NAME` | of |", "| --- | --- | --- | --- |")


def page(results: Sequence[Borrowed]) -> str:
    """A row for each results file: `make bench` writes them all, each by the module of its name."""
    rows = [
        f"| [{title_of(one)}]({PurePosixPath(one.page).name}) | {_about(one)} | `{PurePosixPath(one.page).stem}` "
        f"| {dated(one.source)} |"
        for one in results
    ]
    return "\n".join([_INTRODUCTION, *_in_a(OVERVIEW, "\n".join([*_HEADER, *rows])), ""])


def stamped(one: Borrowed, text: str) -> str:
    """A results page with its date and command under its heading, and no margin: its tables are wide."""
    heading, _, rest = text.partition("\n")
    stamp = f"*{dated(one.source)}, by `python -m {_module(one)}`*"
    return "\n".join(["---\nhide: [toc]\n---", heading, "", stamp, *_in_a(FIGURES, rest)])


def _in_a(style: str, text: str) -> list[str]:
    """The text in a division of the page that style.css knows."""
    return ["", f'<div class="{style}" markdown>', "", text, "", "</div>"]


def _module(one: Borrowed) -> str:
    return f"tests.benchmarks.{PurePosixPath(one.source).stem}"


def _about(one: Borrowed) -> str:
    """The first sentence of the module that measured it."""
    source = (ROOT / one.source).with_suffix(".py").read_text(encoding="utf-8")
    first = (ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0]
    return plain(first.replace("\n", " ").replace("|", ","))
