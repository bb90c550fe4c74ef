"""Generated C, compiled and run on this machine, under sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

from bitsmith.disk import run_tool
from bitsmith.errors import ArtifactError, VerificationError

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror")
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
OPTIMIZED = ("-O2", "-g0")
NO_COMPILER = ("there is no C compiler on this machine to run it with", "Install gcc, or set CC to your compiler.")


def host_compiler() -> str | None:
    """The path of a C compiler of this machine: $CC, cc, gcc or clang; None without one."""
    wanted = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((path for name in wanted if name and (path := shutil.which(name))), None)


def require_compiler() -> str:
    """As `host_compiler`, or an error that says what is missing."""
    found = host_compiler()
    if found is None:
        what, fix = NO_COMPILER
        raise ArtifactError(what, fix=fix)
    return found


@cache
def has_avx2() -> bool:
    """Whether this machine's processor has AVX2, as far as Linux tells."""
    try:
        return "avx2" in Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False


def vector_flags(sources: Mapping[str, str]) -> tuple[str, ...]:
    """Options of the compiler for vectors that sources make use of, where this machine has them."""
    wanted = any("__AVX2__" in text for text in sources.values())
    return ("-mavx2",) if wanted and has_avx2() else ()


def run(sources: Mapping[str, str], given: bytes, defines: Sequence[str] = ()) -> bytes:
    """Compile sources, among them a `main`, and run them on the bytes of their standard input.

    Raises VerificationError for C that does not compile without a warning, or that a sanitizer stops.
    """
    options = (*vector_flags(sources), *(f"-D{name}" for name in defines))
    program = _compiled(tuple(sorted(sources.items())), options, require_compiler())
    done = subprocess.run([program.path], input=given, capture_output=True, check=False)
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().splitlines()
        raise VerificationError(
            f"stopped with {done.returncode}: {' '.join(told[:3])[:500]}",
            where="the generated C",
            fix="Report this model.",
        )
    return done.stdout


class _Compiled:
    """An executable in a folder of its own, which goes when it does."""

    def __init__(self, folder: tempfile.TemporaryDirectory[str]) -> None:
        self.folder = folder

    @property
    def path(self) -> Path:
        return Path(self.folder.name) / "model"


@lru_cache(maxsize=2)
def _compiled(sources: tuple[tuple[str, str], ...], options: tuple[str, ...], compiler: str) -> _Compiled:
    """Kept for the last models, since a data set is run batch by batch."""
    folder = tempfile.TemporaryDirectory(prefix="bitsmith-c-")
    for name, text in sources:
        (Path(folder.name) / name).write_text(text, encoding="utf-8")
    units = [name for name, _ in sources if name.endswith(".c")]
    command = [compiler, *STRICT, *OPTIMIZED, *SANITIZED, *options, *units, "-o", "model"]
    done = run_tool(command, Path(folder.name))
    if done.returncode:
        raise VerificationError(
            f"does not compile: {done.stderr.strip()[:1000]}", where="the generated C", fix="Report this model."
        )
    return _Compiled(folder)
