"""The backend from end to end: what it writes, runs, and refuses."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import bitsmith
from bitsmith.backends.rtl import capabilities
from bitsmith.backends.rtl.capabilities import Options
from bitsmith.errors import TargetError
from bitsmith.legality import check
from bitsmith.summary import summary
from bitsmith.target import load_target
from tests.sketch import Sketch, normal


@pytest.fixture
def model(tmp_path: Path) -> Path:
    sketch = Sketch(x=("N", 6))
    hidden = sketch.add("Relu", sketch.add("Gemm", "x", normal(6, 5), normal(5, seed=1)))
    sketch.add("Gemm", hidden, normal(5, 3, seed=2), normal(3, seed=3), outputs=["y"])
    path = tmp_path / "small.onnx"
    onnx.save(sketch.model("y"), path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, x=normal(64, 6, seed=4))
    return path


def test_compile_writes_all_and_runs(model: Path, data: Path, tmp_path: Path) -> None:
    artifact = bitsmith.compile(model, "rtl", data, tmp_path / "out", explain=False)
    folder = tmp_path / "out" / "rtl"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"model.v", "model_test.v", "circuit.v", "circuit_stage0.v", "Makefile", "circuit.json"} <= names
    assert {"vhdl/model.vhd", "vhdl/circuit.vhd", "vhdl/circuit_stage0.vhd", "vhdl/shift_adder.vhd"} <= names
    assert bitsmith.verify(tmp_path / "out").passed
    known = artifact.manifest["artifact"]
    assert known["initiation interval"] == 1
    assert known["cycles from input to output"] == known["stages"] + 1 == len(list(folder.glob("circuit_stage*.v"))) + 1
    assert known["LUTs, estimated"] > 0
    assert any(f"stages: {known['stages']}" in line for line in summary(artifact.manifest, tmp_path / "out"))


def test_the_same_model_gives_the_same_bytes(model: Path, data: Path, tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        bitsmith.compile(model, "rtl", data, tmp_path / name, explain=False)
        files = sorted((tmp_path / name / "rtl").rglob("*.*"))
        found.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()})
    assert found[0] == found[1]


def test_an_altered_circuit_is_told(model: Path, data: Path, tmp_path: Path) -> None:
    bitsmith.compile(model, "rtl", data, tmp_path / "out", explain=False)
    (tmp_path / "out" / "rtl" / "circuit.json").write_text("[[]]")
    assert not bitsmith.verify(tmp_path / "out").passed


def test_what_is_too_large_is_refused_before_any_work(tmp_path: Path) -> None:
    sketch = Sketch(x=("N", 3, 32, 32))
    sketch.add("Conv", "x", normal(16, 3, 3, 3), name="wide", pads=[1, 1, 1, 1], outputs=["y"])
    onnx.save(sketch.model("y"), tmp_path / "large.onnx")
    (found,) = check(tmp_path / "large.onnx", "rtl").refusals
    assert "wide" in found.where
    assert "442,368 multiply-accumulates a sample" in found.reason
    assert "smaller" in found.fix


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"level": 3}, "there is no such option"),
        ({"levels": 0}, "positive integer"),
        ({"macs": "x"}, "positive integer"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], problem: str) -> None:
    with pytest.raises(TargetError, match=problem):
        Options.of(replace(load_target("rtl"), options=options))


def test_without_da4ml_the_target_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "installed", lambda: False)
    (found,) = check(model, "rtl").refusals
    assert found.reason == "da4ml is not installed"
    assert "bitsmith[rtl]" in found.fix
