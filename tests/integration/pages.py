"""Pages of Markdown, followed as a reader would: files written, lines typed, and what is shown compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\b[\da-f]*\d[\da-f,.]*(?:e[+-]\d+)?")


def follow(page: Path, folder: Path, environment: Mapping[str, str] | None = None) -> list[str]:
    """Do in `folder` what a page says, and give back what each block of shell lines said.

    `sh` is run, and must end well. `text` is what the block before it says, among other lines and numbers aside:
    another processor may round otherwise, and whoever reads should not see what another machine saw as a promise.
    Any other block with a name is a file to write.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, **(environment or {})}
    said: list[str] = []
    for language, name, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "sh":
            shell = ["bash", "-euo", "pipefail", "-c", text]
            done = subprocess.run(
                shell,
                cwd=folder,
                env=variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert done.returncode == 0, text + done.stdout
            said.append(done.stdout)
        elif language == "text":
            absent = _lines(text) - _lines(said[-1])
            assert not absent, f"{page}: not said: {absent}\n{said[-1]}"
        else:
            (folder / name).write_text(text, encoding="utf-8")
    return said


def aside(text: str) -> str:
    """A text with # for each number, and single spaces."""
    return " ".join(NUMBER.sub("#", text).split())


def _lines(text: str) -> set[str]:
    return set(map(aside, text.splitlines()))
