"""A disk that is full, places that take nothing, an interrupt at any moment: told in a line, and nothing is left."""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from bitsmith.cli import main
from bitsmith.cli.parser import parse
from bitsmith.manifest import file_hashes
from tests.integration.conftest import Run
from tests.sketch import Sketch, normal

MOMENTS = 5


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with a model, data, and the only place for temporary files."""
    sketch = Sketch(x=("N", 2, 4, 4))
    hidden = sketch.add("Relu", sketch.add("Conv", "x", normal(3, 2, 3, 3)))
    model = sketch.model(sketch.add("Gemm", sketch.add("Flatten", hidden), normal(12, 5)))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    np.savez(tmp_path / "data.npz", x=normal(8, 2, 4, 4), y=np.arange(8) % 5)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compile_to(out: str, target: str = "onnxruntime", *options: str) -> list[str]:
    given = ["--target", target, "--calibration", "data.npz", "-o", out, "--quiet"]
    return ["compile", "model.onnx", *given, *options]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process can become larger; what would fails as on a disk with no more room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("target", "room"), [("onnxruntime", 0), ("onnxruntime", 5000), ("qonnx", 700)])
def test_a_disk_that_is_full_before_a_compile_is_through(bitsmith: Run, place: Path, target: str, room: int) -> None:
    assert bitsmith(*compile_to("old")).code == 0
    before, there = file_hashes(place / "old"), sorted(os.listdir(place))
    for out in ("old", "new"):
        with files_of_at_most(room):
            said = bitsmith(*compile_to(out, target, "--weights", "4"))
        assert said.code == 2
        assert said.err == (
            f"bitsmith: {out}: cannot be written: File too large. "
            "Check the path, its permissions and the space on its disk.\n"
        )
        assert sorted(os.listdir(place)) == there
    assert file_hashes(place / "old") == before
    assert os.listdir(place / "temporary") == []


def test_a_disk_that_is_full_for_the_compiler_of_the_c(bitsmith: Run, place: Path) -> None:
    """What bitsmith itself writes has room; what gcc makes of it has not."""
    there = sorted(os.listdir(place))
    with files_of_at_most(60_000):
        said = bitsmith(*compile_to("new", "host"))
    assert said.code == 2
    (line,) = said.err.splitlines()
    assert line.startswith(f"bitsmith: {place / 'temporary'}/bitsmith-c-")
    assert line.endswith(
        ": cannot be written: File size limit exceeded. Make room on its disk, or set TMPDIR to a folder on another."
    )
    assert sorted(os.listdir(place)) == there
    assert bitsmith(*compile_to("new", "host")).code == 0


@pytest.mark.parametrize(
    "command",
    [
        compile_to("new", "onnxruntime", "--dump-dir", "dumped"),
        ["report", "old", "-o", "page.html"],
        ["report", "old"],
        ["search", "model.onnx", "--target", "host", "--data", "data.npz", "--calibration", "data.npz", "-o", "front"],
    ],
)
def test_a_disk_that_is_full_for_anything_else(bitsmith: Run, place: Path, command: list[str]) -> None:
    assert bitsmith(*compile_to("old")).code == 0
    before = file_hashes(place / "old")
    with files_of_at_most(100):
        said = bitsmith(*command)
    assert said.code == 2
    assert "cannot be written: File too large" in said.err
    assert len(said.err.splitlines()) == 1
    assert file_hashes(place / "old") == before
    assert not (place / "new").exists()
    assert not (place / "page.html").exists()


@pytest.mark.parametrize("where", ["/proc/page.html", "folder", "missing/page.html"])
def test_a_report_that_cannot_be_put_where_it_is_asked_for(bitsmith: Run, place: Path, where: str) -> None:
    assert bitsmith(*compile_to("old")).code == 0
    (place / "folder").mkdir()
    said = bitsmith("report", "old", "-o", where)
    assert said.code == 2
    assert f"{where}: cannot be written" in said.err
    assert os.listdir(place / "folder") == []


@contextmanager
def interrupted(call: int) -> Iterator[list[int]]:
    """Press Ctrl-C at the call that has this number, of those that a command makes. Yields how many there were."""
    count = [0]

    def watch(frame: FrameType, event: str, argument: object) -> None:
        if event == "return" and frame.f_code is main.__code__:
            sys.setprofile(None)
        if event == "call" and (count[0] or frame.f_code is parse.__code__):
            count[0] += 1
            if count[0] == call:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)

    sys.setprofile(watch)
    try:
        yield count
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("command", ["compile", "verify", "report"])
def test_an_interrupt_at_any_moment(bitsmith: Run, place: Path, command: str) -> None:
    assert bitsmith(*compile_to("old", "onnxruntime", "--weights", "8")).code == 0
    assert bitsmith(*compile_to("new", "onnxruntime", "--weights", "4")).code == 0
    old, new = file_hashes(place / "old"), file_hashes(place / "new")
    there = sorted(os.listdir(place))
    given = {"compile": compile_to("old", "onnxruntime", "--weights", "4")}.get(command, [command, "old"])
    with interrupted(0) as count:
        assert bitsmith(*given).code == 0
    assert count[0] > 1000
    assert bitsmith(*compile_to("old", "onnxruntime", "--weights", "8")).code == 0
    moments, stopped = random.Random(command), 0
    for _ in range(MOMENTS):
        with interrupted(moments.randrange(1, count[0])):
            said = bitsmith(*given)
        assert said.code in (0, 130)
        if said.code == 130:
            stopped += 1
            assert said.err.startswith("bitsmith: interrupted")
            assert len(said.err.splitlines()) == 1
        assert sorted(os.listdir(place)) == there
        assert os.listdir(place / "temporary") == []
        found = file_hashes(place / "old")
        assert found == old or (command == "compile" and found == new)
        assert bitsmith("verify", "old").code == 0
    assert stopped > MOMENTS // 2
