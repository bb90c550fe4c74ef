"""Links in the repository lead somewhere, and every page that the site borrows can be built."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from docs.generate import measured
from docs.generate.notebook import markdown_of
from docs.generate.repository import Borrowed, borrowed, text_of
from tests.docs.pages import ELSEWHERE, PAGES, ROOT

_LINK = re.compile(r"\[[^\]]*\]\((?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")
_MODULE = re.compile(r"python -m (tests\.[\w.]+\w)")
FILES = [*ELSEWHERE, *sorted((ROOT / "tests" / "benchmarks").glob("*.md"))]


def anchors(page: Path) -> set[str]:
    """What headings can be linked to, as GitHub calls them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", FILES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.finditer(page.read_text(encoding="utf-8")):
        if "://" in link["path"]:
            continue
        target = page.parent / link["path"] if link["path"] else page
        assert target.exists(), link[0]
        if link["anchor"]:
            assert link["anchor"] in anchors(target), link[0]


def test_commands_that_measure_are_there() -> None:
    named = {name for page in [*FILES, *PAGES] for name in _MODULE.findall(page.read_text(encoding="utf-8"))}
    assert "tests.benchmarks.accuracy" in named
    assert [name for name in sorted(named) if find_spec(name) is None] == []


def test_every_borrowed_page_is_built() -> None:
    found = borrowed()
    pages = {one.source: one.page for one in found}
    for one in found:
        assert text_of(one, pages).startswith("# "), one.source
    results = [one for one in found if one.page.startswith("measured/")]
    assert len(results) > 5
    page = measured.page(results)
    assert [one.source for one in results if f"]({Path(one.page).name})" not in page] == []


def test_a_notebook_is_a_page() -> None:
    drawn = {"output_type": "display_data", "data": {"image/png": "aGk=\n", "text/plain": "<Figure>"}}
    printed = {"output_type": "stream", "text": ["one\n", "two\n"]}
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "Words."]},
        {"cell_type": "code", "source": ["x[0](y)"], "outputs": [printed, drawn]},
    ]
    assert markdown_of(json.dumps({"cells": cells})) == (
        "# Title\n\nWords.\n\n```python\nx[0](y)\n```\n\n```text\none\ntwo\n```\n\n"
        "![what the lines above draw](data:image/png;base64,aGk=)\n"
    )


def test_links_are_made_to_fit_or_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.md").write_text("[b](../b/two.md#there), [c](c.txt), [c.txt](c.txt), [d](https://d.org)\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.md").touch()
    (tmp_path / "a" / "c.txt").touch()
    monkeypatch.setattr("docs.generate.repository.ROOT", tmp_path)
    made = text_of(Borrowed("a/one.md", "x/one.md", "One"), {"b/two.md": "y/two.md"})
    assert made == "# One\n\n[b](../y/two.md#there), c (`a/c.txt`), c.txt (`a/c.txt`), [d](https://d.org)\n"
    (tmp_path / "a" / "c.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"one\.md links to c\.txt, which is not there"):
        text_of(Borrowed("a/one.md", "x/one.md", "One"), {})
