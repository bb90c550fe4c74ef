"""`verify` on the target's own machine: what was found there, or why it could not be tried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bitsmith import compile, verify
from bitsmith.backends.c import CBackend
from bitsmith.backends.c.machines import tools
from bitsmith.target import Target, load_target
from tests.backends.c.needs import machine_of
from tests.backends.onnxruntime.graphs import linear

GRAPH = linear((9,))


def written(folder: Path, target: Target) -> Path:
    CBackend().emit(GRAPH, target, folder)
    return folder


def test_a_compiled_folder_is_tried_on_its_machine(digits: Path, tmp_path: Path) -> None:
    machine_of("cortex-m3")
    compile(digits / "digits.onnx", "cortex-m3", digits / "calibration.npz", tmp_path / "out", explain=False)
    found = verify(tmp_path / "out")
    assert found.passed
    assert found.trial is not None
    assert found.trial.passed is True
    assert "cortex-m3 under QEMU" in found.trial.found
    assert found.to_json()["trial"] == {"found": found.trial.found, "passed": True}


def test_a_model_that_gives_other_integers_there_fails(tmp_path: Path) -> None:
    target, _ = machine_of("cortex-m3")
    path = written(tmp_path, target) / "c" / "model.c"
    path.write_text(path.read_text().replace("int32_t x0 =", "int32_t x0 = 4096 +"))
    trial = CBackend().trial(GRAPH, tmp_path, target)
    assert trial is not None
    assert trial.passed is False
    assert "a golden vector is not met" in trial.found


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = load_target("cortex-m3")
    written(tmp_path, target)
    monkeypatch.setattr(tools.shutil, "which", lambda command: None)
    trial = CBackend().trial(GRAPH, tmp_path, target)
    assert trial is not None
    assert trial.passed is None
    assert "not run, for want of arm-none-eabi-gcc" in trial.found
    assert "apt-get install gcc-arm-none-eabi" in trial.found


def test_a_core_without_a_machine_is_named(tmp_path: Path) -> None:
    target = replace(load_target("cortex-m3"), name="mine", flags=("-mcpu=cortex-m999",))
    trial = CBackend().trial(GRAPH, written(tmp_path, target), target)
    assert trial is not None
    assert trial.passed is None
    assert "mine: not run" in trial.found


def test_portable_c_has_no_machine_of_its_own(tmp_path: Path) -> None:
    target = load_target("host")
    assert CBackend().trial(GRAPH, written(tmp_path, target), target) is None
