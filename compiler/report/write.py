"""Pages made of folders: of what was compiled, from its manifest alone; of a search, from its front.json."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from bitsmith.artifact import REPORT
from bitsmith.bounded import read_text
from bitsmith.errors import ArtifactError
from bitsmith.manifest import MANIFEST, file_sha256, read_manifest, write_manifest, write_whole
from bitsmith.report import front, page
from bitsmith.search.results import FORMAT, FRONT

MISSHAPEN = (TemplateError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What a manifest that lacks something, or has something else in its place, leads to."""


def write_report(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    accuracy: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page of a compiled folder or of a search to `out`, or into the folder itself; returns where it is.

    accuracy: as report/accuracy.py measured it; the manifest keeps it, for the next page, if this one is its folder's.
    """
    path = Path(folder)
    target = path / REPORT if out is None else Path(out)
    if accuracy is not None:
        refuse_search(path)
    if is_search(path):
        _write(target, _made(path / FRONT, lambda: front.render(read_front(path), path, target.parent)))
        return target
    manifest = read_manifest(path)
    if accuracy is not None:
        manifest["accuracy"] = dict(accuracy)
    _write(target, _made(path / MANIFEST, lambda: page.render(manifest)))
    if out is None:
        manifest["files"][REPORT] = file_sha256(target)
        try:
            write_manifest(path, manifest)
        except OSError as reason:
            raise ArtifactError(f"cannot be written: {reason.strerror}", where=str(path / MANIFEST)) from reason
    return target


def is_search(folder: Path) -> bool:
    """Whether a folder is that of a search, and not of a compile."""
    return (folder / FRONT).is_file() and not (folder / MANIFEST).is_file()


def refuse_search(folder: Path) -> None:
    """Raise ArtifactError for the folder of a search: accuracy is that of something compiled."""
    if is_search(folder):
        raise ArtifactError(
            "is of a search, whose points were measured already",
            where=str(folder),
            fix="Leave out --data, or give the folder of one of its points.",
        )


def read_front(folder: Path) -> Mapping[str, Any]:
    """What a search found; ArtifactError for what is no front.json of this version."""
    path = folder / FRONT
    try:
        found = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as reason:
        raise ArtifactError(f"cannot be read: {reason}", where=str(path), fix="Run the search again.") from reason
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ArtifactError(f"is no front of this version ({FORMAT})", where=str(path), fix="Run the search again.")
    return found


def _made(source: Path, render: Callable[[], str]) -> str:
    try:
        return render()
    except MISSHAPEN as reason:
        what = f"{type(reason).__name__}: {reason}" if isinstance(reason, LookupError) else str(reason)
        fix = "Compile the model again." if source.name == MANIFEST else "Run the search again."
        raise ArtifactError(f"is incomplete: {what}", where=str(source), fix=fix) from reason


def _write(target: Path, text: str) -> None:
    try:
        write_whole(target, text)
    except OSError as reason:
        raise ArtifactError(
            f"cannot be written: {reason.strerror}", where=str(target), fix="Name another file with -o."
        ) from reason
