"""The pages that people write, and what stands in their fenced blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "pages").glob("*.md"))
ELSEWHERE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("*/*/README.md"))]

_BLOCK = re.compile(r"^```(?P<language>\w+)(?P<title>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, its language, what follows that on the line, and its lines."""

    page: str
    language: str
    title: str
    text: str


def blocks(*languages: str, pages: list[Path] = PAGES) -> list[Block]:
    """The blocks of these languages, in order."""
    return [
        Block(page.name, match["language"], match["title"].strip(), match["text"])
        for page in pages
        for match in _BLOCK.finditer(page.read_text(encoding="utf-8"))
        if match["language"] in languages
    ]


def commands(text: str) -> Iterator[str]:
    """The lines of a shell that begin with bitsmith, those that a backslash breaks put together."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.startswith("bitsmith "):
            yield re.split(r" (?:\|\|?|&&|>|#) ", line)[0]
