"""Pages that stand elsewhere in the repository: taken from there as they are, links made to fit."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from docs.generate.notebook import markdown_of

ROOT = Path(__file__).resolve().parents[2]

_LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
_BLOCK = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^```(?P<language>\w+)[ ]+(?P<file>\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Borrowed:
    """source: the file, from the repository's root. page: what the site calls it. title: where the file has none."""

    source: str
    page: str
    title: str = ""


def borrowed() -> list[Borrowed]:
    """Every file that is a page: the tutorials and examples, the benchmarks' results, how to contribute."""
    found = [Borrowed("CONTRIBUTING.md", "contributing.md")]
    for file in sorted(ROOT.glob("examples/*/README.md")):
        found.append(Borrowed(_inside(file), f"examples/{file.parent.name}.md"))
    for file in sorted(ROOT.glob("examples/*/*.ipynb")):
        found.append(Borrowed(_inside(file), f"examples/{file.stem}_notebook.md"))
    for file in sorted(ROOT.glob("tests/benchmarks/*.md")):
        found.append(Borrowed(_inside(file), f"measured/{file.name}", file.stem.replace("_", " ").capitalize()))
    for file in sorted(ROOT.glob("models/*/README.md")):
        found.append(Borrowed(_inside(file), f"models/{file.parent.name}.md"))
    return found


def pictures() -> dict[str, str]:
    """What the site calls each picture that pages show, and the file, from the repository's root."""
    drawn = {f"measured/{file.name}": _inside(file) for file in sorted(ROOT.glob("tests/benchmarks/*.png"))}
    return drawn | {f"pictures/{file.name}": _inside(file) for file in sorted(ROOT.glob("docs/pictures/*.svg"))}


def title_of(one: Borrowed) -> str:
    """The heading of a file, or what it is called here where it has none."""
    first = _read(one.source).partition("\n")[0]
    return first.removeprefix("# ") if first.startswith("# ") else one.title


def text_of(one: Borrowed, pages: Mapping[str, str]) -> str:
    """The file as a page. pages: of each file that is a page or a picture, what the site calls it."""
    text = _read(one.source)
    if not text.startswith("# "):
        text = f"# {one.title}\n\n{text}"
    text = _FENCE.sub(r'```\g<language> title="\g<file>"', text)
    parts = [
        part if part.startswith("```") else _LINK.sub(lambda link: _relinked(link, one, pages), part)
        for part in _BLOCK.split(text)
    ]
    return "".join(parts)


def _read(source: str) -> str:
    text = (ROOT / source).read_text(encoding="utf-8")
    return markdown_of(text) if source.endswith(".ipynb") else text


def _relinked(link: re.Match[str], one: Borrowed, pages: Mapping[str, str]) -> str:
    """A link to a page of the site, or the name of a file that is in the repository alone."""
    if "://" in link["path"] or link["path"].startswith("data:"):
        return link[0]
    target = os.path.normpath(PurePosixPath(one.source).parent / link["path"])
    if not (ROOT / target).exists():
        raise FileNotFoundError(f"{one.source} links to {link['path']}, which is not there")
    if target not in pages and f"{target}/README.md" in pages:
        target += "/README.md"
    if target not in pages:
        return link["text"] if target in link["text"] else f"{link['text']} (`{target}`)"
    path = os.path.relpath(pages[target], PurePosixPath(one.page).parent)
    return f"{link['picture']}[{link['text']}]({path}{link['anchor'] or ''})"


def dated(source: str) -> str:
    """The day of the commit that changed a file last; `not committed` where there is none."""
    command = ["git", "log", "-1", "--format=%cs", "--", source]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "not committed"
    return done.stdout.strip() or "not committed"


def _inside(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()
