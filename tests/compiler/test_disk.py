"""Tools that fail because the disk takes nothing, and tools that fail for another reason."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from bitsmith.disk import run_tool
from bitsmith.errors import ArtifactError


def tool(said: str, code: int) -> list[str]:
    """A command that says something on its standard error and ends with a code."""
    return [sys.executable, "-c", f"import sys; sys.stderr.write({said!r}); sys.exit({code})"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_what_the_disk_answered_is_told_as_that(number: int, tmp_path: Path) -> None:
    answer = os.strerror(number)
    with pytest.raises(ArtifactError, match="set TMPDIR") as caught:
        run_tool(tool(f"ld: final link failed: {answer}", 1), tmp_path)
    assert (caught.value.what, caught.value.where) == (f"cannot be written: {answer}", str(tmp_path))


def test_other_failures_and_successes_are_the_callers(tmp_path: Path) -> None:
    assert run_tool(tool("model.c:1: error: expected ;", 1), tmp_path).stderr == "model.c:1: error: expected ;"
    assert run_tool(tool(os.strerror(errno.ENOSPC), 0), tmp_path).returncode == 0


def test_tools_speak_english_and_have_what_they_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    words = [sys.executable, "-c", "import os; print(os.environ['LC_ALL'], os.environ['GIVEN'], os.getcwd())"]
    assert run_tool(words, tmp_path, {"GIVEN": "yes"}).stdout.split() == ["C", "yes", str(tmp_path)]
