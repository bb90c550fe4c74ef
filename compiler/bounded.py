"""Texts that may be larger than anything that could rightly stand in them, or have no end."""

from __future__ import annotations

import os
from pathlib import Path

LIMIT = 64 * 2**20
"""Bytes of a text that are read: the manifest of a thousand layers takes a twentieth."""


def read_text(path: str | os.PathLike[str], limit: int = LIMIT) -> str:
    """The text of a file in UTF-8. Raises ValueError if it is none or has more than `limit` bytes, and OSError."""
    with Path(path).open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"more than {limit:,} bytes")
    return content.decode("utf-8")
