"""What MkDocs calls: adds the generated pages, and those that stand elsewhere in the repository."""

from __future__ import annotations

import logging
import re
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.generate import commands, measured, operators, passes, picture, targets
from docs.generate.repository import ROOT, borrowed, pictures, text_of, title_of

MEASURED = "measured/index.md"
GENERATED = {
    "reference/commands.md": commands.page,
    "reference/operators.md": operators.page,
    "reference/passes.md": passes.page,
    "reference/targets.md": targets.page,
}

_ASKED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)")

log = logging.getLogger("mkdocs.hooks.bitsmith")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the sections that are empty in mkdocs.yml."""
    if picture.FILE.read_text(encoding="utf-8") != picture.drawn():
        log.warning("%s is not what the tables say: python -m docs.generate.picture", picture.FILE.name)
    sections: dict[str, list[Any]] = {"Examples": [], "Measured": [{"Overview": MEASURED}]}
    for one in borrowed():
        if one.page.startswith("examples/"):
            sections["Examples"].append({title_of(one): one.page})
        elif one.page.startswith("measured/"):
            sections["Measured"].append({title_of(one): one.page})
        elif one.page.startswith("models/"):
            sections["Examples"].append({f"The model {title_of(one)}": one.page})
    for entry in config.nav or []:
        for name, pages in entry.items():
            if name in sections and not pages:
                pages.extend(sections[name])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every page that is not in pages/."""
    elsewhere, shown = borrowed(), pictures()
    pages = {one.source: one.page for one in elsewhere}
    for page, source in shown.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
        pages[source] = page
    results = [one for one in elsewhere if one.page.startswith("measured/")]
    for one in elsewhere:
        text = text_of(one, pages)
        files.append(File.generated(config, one.page, content=measured.stamped(one, text) if one in results else text))
    files.append(File.generated(config, MEASURED, content=measured.page(results)))
    for page, make in GENERATED.items():
        files.append(File.generated(config, page, content=make()))
    return files


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Warn of a page that would ask the network for something when it is opened."""
    for asked in _ASKED.findall(output):
        log.warning("%s asks for %s when it is opened", page.file.src_uri, asked)
    return output
