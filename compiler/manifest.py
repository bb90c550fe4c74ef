"""The manifest of a compiled folder: what is in it, read and written whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bitsmith.bounded import read_text
from bitsmith.errors import ArtifactError

MANIFEST = "manifest.json"
BUILD = "build"
"""Folders of what a Makefile or the like builds of the files: at whatever depth, nothing in them is looked at."""

FORMAT = "bitsmith artifact 1"
LINE = 120


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a compiled folder; ArtifactError for a folder that has none, or none that is whole."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(read_text(path))
    except (FileNotFoundError, NotADirectoryError) as reason:
        missing = "is a file, not a folder" if folder.exists() else "there is no such folder"
        raise ArtifactError(
            f"has no {MANIFEST}" if folder.is_dir() else missing,
            where=str(folder),
            fix="Give the folder that `bitsmith compile -o` wrote.",
        ) from reason
    except OSError as reason:
        raise ArtifactError(f"cannot be read: {reason.strerror}", where=str(path)) from reason
    except (ValueError, RecursionError) as reason:
        raise ArtifactError(f"is damaged: {reason}", where=str(path), fix="Compile the model again.") from reason
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArtifactError(
            f"is not a manifest of this version of bitsmith ({FORMAT})",
            where=str(path),
            fix="Compile the model again.",
        )
    target, listed, written = manifest.get("target"), manifest.get("files"), manifest.get("backend_files", [])
    for holds, missing in (
        (isinstance(listed, dict) and all(isinstance(one, str) for one in listed.values()), "lists no files"),
        (isinstance(target, dict) and isinstance(target.get("backend"), str), "does not say which backend wrote it"),
        (isinstance(written, list) and all(isinstance(one, str) for one in written), "does not say what it wrote"),
    ):
        if not holds:
            raise ArtifactError(missing, where=str(path), fix="Compile the model again.")
    return manifest


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of a folder, in one step: the file is the old one or the new one, never a part."""
    write_whole(folder / MANIFEST, pretty(manifest) + "\n")


def pretty(value: Any, indent: str = "") -> str:
    """JSON in which whatever fits into a line is one."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if len(indent) + len(line) <= LINE or not isinstance(value, dict | list):
        return line
    inner = indent + " "
    if isinstance(value, dict):
        items = [f"{json.dumps(key, ensure_ascii=False)}: {pretty(one, inner)}" for key, one in value.items()]
        return "{\n" + ",\n".join(inner + item for item in items) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + pretty(one, inner) for one in value) + f"\n{indent}]"


def write_whole(path: Path, text: str) -> None:
    """Write a text file in one step, over what was there."""
    part = path.with_name(part_name(path.name))
    try:
        part.write_text(text, encoding="utf-8")
        flush(part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def part_name(name: str) -> str:
    """What `write_whole` calls a file until it is whole."""
    return f".{name}.part"


def file_hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder but its manifest, by path relative to it, sorted."""
    paths = {path.relative_to(folder).as_posix(): path for path in files(folder)}
    return {name: _written(paths[name]) for name in sorted(paths) if name != MANIFEST}


def _written(path: Path) -> str:
    """The SHA-256 of a file in a compiled folder; of a link, pipe or device, which nothing here writes, its kind."""
    if not path.is_file() or path.is_symlink():
        return f"not a file but of mode {path.lstat().st_mode:o}"
    return file_sha256(path)


def file_sha256(path: Path) -> str:
    """The SHA-256 of one file, or of what a link to it leads to, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files(folder: Path) -> Iterator[Path]:
    """Everything under a folder but folders, and but what is built of it: all in a folder called `BUILD`."""
    for path in folder.rglob("*"):
        if (not path.is_dir() or path.is_symlink()) and BUILD not in path.relative_to(folder).parts[:-1]:
            yield path


def flush(path: Path) -> None:
    """Wait until a file is on the disk, so that a rename never names what a power cut could still lose."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
