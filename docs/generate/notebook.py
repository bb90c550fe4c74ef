"""Jupyter notebooks as pages: cells in order, what they printed, and the pictures that they drew."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def markdown_of(notebook: str) -> str:
    """The notebook, as JSON, as Markdown; pictures are in the page itself."""
    return "\n\n".join(part for cell in json.loads(notebook)["cells"] for part in _cell(cell)) + "\n"


def _cell(cell: Mapping[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        data = output.get("data", {})
        text = "".join(output.get("text", data.get("text/plain", "")))
        if "image/png" in data:
            picture = "".join(data["image/png"]).replace("\n", "")
            yield f"![what the lines above draw](data:image/png;base64,{picture})"
        elif text:
            yield f"```text\n{text.rstrip()}\n```"
