"""The firmware in examples/, built by its own Makefile and booted in QEMU."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backends.c.needs import machine_of

BOARDS = {"mps2-an386": "cortex-m4", "virt": "rv32imac"}


@pytest.mark.parametrize("board", BOARDS)
def test_keyword_spotting_boots_and_hears(
    board: str, repository: Path, model_file: Callable[[str], Path], tmp_path: Path
) -> None:
    machine_of(BOARDS[board])
    model = model_file("dscnn_kws_tfl.onnx")
    model_file("dscnn_kws_tfl.calib.npz")
    model_file("dscnn_kws_tfl.eval.npz")
    settings = [f"BOARD={board}", f"MODEL={model}", f"OUT={tmp_path}", f"PYTHON={sys.executable}"]

    def made(goal: str) -> subprocess.CompletedProcess[str]:
        command = ["make", goal, *settings]
        folder = repository / "examples" / "keyword_spotting"
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    done = made("run")
    assert done.returncode == 0, done.stderr
    assert "The golden vectors are met." in done.stdout
    heard = re.search(r"^(\d+) of 24 clips heard rightly; 24 as the integer graph hears them\.", done.stdout, re.M)
    assert heard is not None, done.stdout
    assert int(heard[1]) >= 18

    # What it is told to hear is compared: another expectation fails.
    header = tmp_path / "clips.h"
    text = header.read_text()
    header.write_text(re.sub(r"(expected\[CLIPS\] = \{)(\d+)", lambda found: f"{found[1]}{11 - int(found[2])}", text))
    wrong = made("run")
    assert wrong.returncode != 0
    assert "; 23 as the integer graph hears them." in wrong.stdout
