"""`bitsmith targets --measure`: what a backend measures, printed as a target's file has it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping

import pytest

from bitsmith.backends.onnxruntime import OnnxRuntimeBackend
from bitsmith.cli import main
from bitsmith.progress import Progress
from bitsmith.target import Target

Capture = pytest.CaptureFixture[str]


def measured(self: OnnxRuntimeBackend, target: Target, progress: Progress) -> Mapping[str, float]:
    return {"8x8": 1.25, "4x8": 2}


def test_what_is_measured_is_a_table_of_the_targets_file(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntimeBackend, "measure", measured)
    assert main(["targets", "--measure", "onnxruntime"]) == 0
    assert tomllib.loads(capsys.readouterr().out) == {"cycles": {"8x8": 1.25, "4x8": 2}}
    assert main(["targets", "--measure", "onnxruntime", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"cycles": {"8x8": 1.25, "4x8": 2}}


def prices(self: OnnxRuntimeBackend, target: Target, progress: Progress) -> Mapping[str, float]:
    return {"conv": 90.5, "conv, by length": 2}


def test_prices_of_code_are_a_table_of_their_own(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntimeBackend, "measure_code", prices)
    assert main(["targets", "--measure", "onnxruntime"]) == 0
    assert tomllib.loads(capsys.readouterr().out) == {"code": {"conv": 90.5, "conv, by length": 2}}
    monkeypatch.setattr(OnnxRuntimeBackend, "measure", measured)
    assert main(["targets", "--measure", "onnxruntime"]) == 0
    both = {"cycles": {"8x8": 1.25, "4x8": 2}, "code": {"conv": 90.5, "conv, by length": 2}}
    assert tomllib.loads(capsys.readouterr().out) == both
    assert main(["targets", "--measure", "onnxruntime", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == both


def test_what_cannot_be_run_here_is_told(capsys: Capture) -> None:
    assert main(["targets", "--measure", "onnxruntime"]) == 2
    told = capsys.readouterr().err
    assert "target onnxruntime: the backend onnxruntime cannot run its kernels here" in told
    assert main(["targets", "--measure", "onnxruntim"]) == 2
    assert "Did you mean onnxruntime?" in capsys.readouterr().err
