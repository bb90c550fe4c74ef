"""Docstrings as they stand in the code, as Markdown: lines of `name: what it is` become a list, formulas code."""

from __future__ import annotations

import re

_NAMES = r"[a-z_][\w.]*(?:, [a-z_][\w.]*)*"
_FIELD = re.compile(rf"(?P<names>{_NAMES}):\s+(?P<text>\S.*)")
_NEXT = re.compile(rf"(?<=[.;]) (?={_NAMES}: )")
_CODE = re.compile(r"(`[^`]+`)")


def markdown(docstring: str) -> str:
    """The docstring, cleaned of its own indentation, as Markdown.

    A paragraph that starts with `name: ` or `name, name: ` is a list of fields, an indented one is code, and nothing
    outside of backticks is markup.
    """
    return "\n\n".join(_block(block) for block in re.split(r"\n[ ]*\n", docstring.strip("\n")))


def _block(block: str) -> str:
    lines = block.splitlines()
    if lines[0].startswith("    "):
        return block
    if _FIELD.match(lines[0]):
        return _fields(lines)
    # Code that follows its paragraph without a blank line between, as docstrings have it.
    end = next((at for at, line in enumerate(lines) if line.startswith("    ")), len(lines))
    return "\n".join([plain(line) for line in lines[:end]] + ([""] if end < len(lines) else []) + lines[end:])


def _fields(lines: list[str]) -> str:
    """A list with an item for each field: one a line as a rule, or several one after the other."""
    items: list[str] = []
    for line in lines:
        if _FIELD.match(line) or not items:
            items.append(line)
        else:
            items[-1] += f" {line.strip()}"
    return "\n".join(_item(field) for item in items for field in _NEXT.split(item))


def _item(field: str) -> str:
    found = _FIELD.match(field)
    if found is None:
        return f"- {plain(field)}"
    names = ", ".join(f"`{name}`" for name in found["names"].split(", "))
    return f"- {names}: {plain(found['text'].rstrip(';'))}"


def plain(text: str) -> str:
    """The text with what Markdown would take for markup escaped, but for what stands in backticks."""
    return "".join(
        part if part.startswith("`") and part.endswith("`") and len(part) > 1 else _escaped(part)
        for part in _CODE.split(text)
    )


def _escaped(text: str) -> str:
    return re.sub(r"([*\[\]\\])", r"\\\1", text).replace("<", "&lt;")
