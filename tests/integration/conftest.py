"""The command line as tests use it: in this process, and in one of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bitsmith.cli import main


@dataclass(frozen=True)
class Said:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def bitsmith(capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs a command in this process."""

    def run(*arguments: object) -> Said:
        code = main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return Said(code, told.out, told.err)

    return run


@pytest.fixture(scope="session")
def bitsmith_process() -> Run:
    """A function that runs a command in a process of its own."""

    def run(*arguments: object, **options: object) -> Said:
        command = [sys.executable, "-m", "bitsmith", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
        return Said(done.returncode, done.stdout, done.stderr)

    return run


WAIT = """
import threading
from dataclasses import dataclass
from bitsmith.manager import Changes, Pass

@dataclass(frozen=True)
class Wait(Pass):
    name = "wait"

    def run(self, module):
        module.progress("waiting to be interrupted", 0, 0)
        threading.Event().wait()
        return Changes()
"""


@pytest.fixture(scope="session")
def with_wait(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process in which a pass `wait` is installed, which ends by an interrupt alone."""
    place = tmp_path_factory.mktemp("installed")
    (place / "wait.py").write_text(WAIT)
    told = place / "wait-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: wait\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[bitsmith.passes]\nwait = wait:Wait\n")
    return {**os.environ, "PYTHONPATH": str(place)}


@pytest.fixture(scope="session")
def compiled(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits model, compiled once; tests only read it."""
    out = tmp_path_factory.mktemp("compiled") / "digits"
    command = [
        "compile",
        digits / "digits.onnx",
        "--target",
        "onnxruntime",
        "--calibration",
        digits / "calibration.npz",
    ]
    assert main([*map(str, command), "-o", str(out), "--quiet"]) == 0
    return out
