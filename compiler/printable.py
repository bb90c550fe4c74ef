"""Text of others, made fit to stand in a line: nothing in it steers a terminal or turns the direction of reading."""

from __future__ import annotations

import re

_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]")
"""Controls (C0, DEL, C1), marks of direction and of no width, separators of lines, and halves of surrogate pairs."""

PAINTED = re.compile("(\x1b\\[[0-9;]*m)")
"""What colours text and does nothing else."""


def printable(text: str) -> str:
    r"""The text with `\x1b` and the like in place of what cannot be printed."""
    return _UNFIT.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable_line(text: str) -> str:
    """The same, but for colours, which are left."""
    return "".join(part if index % 2 else printable(part) for index, part in enumerate(PAINTED.split(text)))


def printable_json(text: str) -> str:
    r"""JSON with `\u001b` and the like in place of what cannot be printed: equal JSON, line breaks kept."""
    return _UNFIT.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)
