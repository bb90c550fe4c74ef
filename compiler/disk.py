"""What a disk answers that is full, or that takes nothing: to this process, and to the tools that it runs."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bitsmith.errors import ArtifactError

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}

TOLD = (*sorted(map(os.strerror, DISK)), "File size limit exceeded")
"""Its answers as tools tell them; the last ends a tool by a signal."""


def full(reason: str, where: str) -> ArtifactError:
    """The error of a file that is no one's in particular, such as a temporary one, which cannot be written."""
    fix = "Make room on its disk, or set TMPDIR to a folder on another."
    return ArtifactError(f"cannot be written: {reason}", where=where, fix=fix)


def run_tool(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a compiler or the like in a folder, with what it needs in its environment; what it said, in English.

    ArtifactError where it failed for what the disk answered: that says nothing of what it was given.
    """
    variables = {**os.environ, **(environment or {}), "LC_ALL": "C"}
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        for answer in TOLD:
            if answer in done.stderr or answer in done.stdout:
                raise full(answer, str(folder))
    return done
