"""A compile killed at any moment leaves an OUT/ that is absent, what it was, or complete; never a part of one."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bitsmith.manifest import file_hashes
from tests.integration.conftest import Run

KILLS = 12


@pytest.fixture
def command(digits: Path, tmp_path: Path) -> list[str]:
    model, data, out = digits / "digits.onnx", digits / "calibration.npz", tmp_path / "place" / "out"
    options = ["--target", "onnxruntime", "--calibration", str(data), "-o", str(out), "--quiet"]
    return [sys.executable, "-m", "bitsmith", "compile", str(model), *options]


@pytest.mark.parametrize("there_before", [False, True])
def test_a_killed_compile_leaves_no_half_of_a_folder(
    command: list[str], compiled: Path, tmp_path: Path, bitsmith: Run, there_before: bool
) -> None:
    place = tmp_path / "place"
    out = place / "out"
    complete = file_hashes(compiled)
    place.mkdir()
    started = time.monotonic()
    assert subprocess.run(command, check=False).returncode == 0
    whole = time.monotonic() - started
    moments = random.Random(there_before)
    if there_before:
        # Another compile's result, to tell the old folder from the new.
        assert subprocess.run([*command, "--weights", "4"], check=False).returncode == 0
    before = file_hashes(out)
    absent = 0
    for _ in range(KILLS):
        if not there_before:
            bitsmith_remove(out)
        process = subprocess.Popen(command)
        time.sleep(moments.uniform(0.1, 1.0) * whole)
        process.kill()
        killed = process.wait() == -signal.SIGKILL
        if out.exists():
            found = file_hashes(out)
            assert found in ([before, complete] if there_before else [complete])
            assert bitsmith("verify", out).code == 0
        else:
            assert killed
            absent += 1
        assert all(name == "out" or name.startswith(".out.bitsmith-") for name in os.listdir(place))
    # Some were stopped half-way, or nothing was tried.
    assert there_before or absent >= KILLS // 4
    assert subprocess.run(command, check=False).returncode == 0
    assert file_hashes(out) == complete
    assert os.listdir(place) == ["out"]


def bitsmith_remove(out: Path) -> None:
    if out.exists():
        for path in out.iterdir():
            path.unlink()
        out.rmdir()


def test_an_interrupted_compile_leaves_nothing_at_all(
    command: list[str], with_wait: dict[str, str], tmp_path: Path
) -> None:
    waits = [*command, "--pipeline", "wait,integerize"]
    process = subprocess.Popen(waits, stderr=subprocess.PIPE, text=True, env=with_wait)
    place = tmp_path / "place"
    while process.poll() is None and not place.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert (process.returncode, told) == (130, "bitsmith: interrupted; nothing was written\n")
    assert not place.exists()


def test_an_interrupt_within_text_that_is_evaluated_exits_as_any_other(tmp_path: Path) -> None:
    # The standard library makes dataclasses by exec(): an interrupt there must not end the process by its signal.
    (tmp_path / "sitecustomize.py").write_text(
        "import bitsmith.cli\n"
        "def main():\n"
        "    try:\n"
        "        exec('raise KeyboardInterrupt')\n"
        "    except KeyboardInterrupt:\n"
        "        return 130\n"
        "bitsmith.cli.main = main\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-m", "bitsmith"], env=environment, check=False)
    assert ended.returncode == 130


def test_of_two_compiles_at_once_one_is_there_whole(
    command: list[str], compiled: Path, tmp_path: Path, bitsmith: Run
) -> None:
    out, alone = tmp_path / "place" / "out", tmp_path / "alone"
    other = [*command, "--symmetric-activations"]
    assert subprocess.run([*other, "-o", str(alone)], check=False).returncode == 0
    shutil.copytree(alone, out)
    both = [subprocess.Popen(one) for one in (command, other)]
    assert [process.wait() for process in both] == [0, 0]
    assert os.listdir(tmp_path / "place") == ["out"]
    assert file_hashes(out) in (file_hashes(compiled), file_hashes(alone))
    assert file_hashes(compiled) != file_hashes(alone)
    assert bitsmith("verify", out).code == 0
