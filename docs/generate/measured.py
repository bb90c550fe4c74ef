"""The page of benchmarks: what was measured, when, and by which command."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import PurePosixPath

from docs.generate.docstrings import plain
from docs.generate.repository import ROOT, Borrowed, dated, title_of


def page(results: Sequence[Borrowed]) -> str:
    """A row for each results file: `make bench` writes them all, each by the module of its name."""
    rows = [
        f"| [{title_of(one)}]({PurePosixPath(one.page).name}) | {_about(one)} | `{_module(one)}` "
        f"| {dated(one.source)} |"
        for one in results
    ]
    return "\n".join(
        [
            "# Measured",
            "",
            "Every figure on this site was written by a command of the repository, none by hand. `make bench` runs all "
            "of them and writes the files that the pages below are made of; `python -m` runs one. A date is that of "
            "the commit that changed the file last.",
            "",
            "| page | what | command: `python -m` | of |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def stamped(one: Borrowed, text: str) -> str:
    """A results page with its date and command under its heading."""
    heading, _, rest = text.partition("\n")
    return f"{heading}\n\n*{dated(one.source)}, by `python -m {_module(one)}`*\n{rest}"


def _module(one: Borrowed) -> str:
    return f"tests.benchmarks.{PurePosixPath(one.source).stem}"


def _about(one: Borrowed) -> str:
    """The first sentence of the module that measured it."""
    source = (ROOT / one.source).with_suffix(".py").read_text(encoding="utf-8")
    first = (ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0]
    return plain(first.replace("\n", " ").replace("|", ","))
