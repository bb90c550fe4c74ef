"""The command line as tests use it: in this process, and in one of its own."""

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
