"""evaluate, verify, check, report, passes and targets on the digits model."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from bitsmith.driver import FROM_DATA
from bitsmith.manifest import file_hashes
from tests.integration.conftest import Run
from tests.sketch import Sketch


@pytest.fixture
def copied(compiled: Path, tmp_path: Path) -> Path:
    """A compiled folder that a test may damage."""
    return Path(shutil.copytree(compiled, tmp_path / "copied"))


def test_evaluate_agrees_with_onnx_runtime_on_the_float_model(bitsmith: Run, digits: Path) -> None:
    said = bitsmith("evaluate", digits / "digits.onnx", "--data", digits / "evaluation.npz", "--json", "--quiet")
    session = onnxruntime.InferenceSession(digits / "digits.onnx", providers=["CPUExecutionProvider"])
    with np.load(digits / "evaluation.npz") as data:
        right = session.run(None, {"x": data["x"]})[0].argmax(axis=1) == data["y"]
    (score,) = json.loads(said.out)["scores"]
    assert (score["metric"], score["samples"]) == ("top1", 600)
    assert score["value"] == pytest.approx(right.mean())


def test_evaluate_shows_each_form_of_a_compiled_folder(bitsmith: Run, compiled: Path, digits: Path) -> None:
    said = bitsmith("evaluate", compiled, "--data", digits / "evaluation.npz")
    assert said.code == 0
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines] == ["integer.onnx", "model.qdq.onnx"]
    session = onnxruntime.InferenceSession(compiled / "model.qdq.onnx", providers=["CPUExecutionProvider"])
    with np.load(digits / "evaluation.npz") as data:
        right = session.run(None, {"x": data["x"]})[0].argmax(axis=1) == data["y"]
    assert f"top1 {right.mean():.4f}" in lines[1]


def test_evaluate_compares_with_a_reference_where_there_are_no_labels(
    bitsmith: Run, compiled: Path, digits: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few.npz"
    np.savez(few, x=np.load(digits / "calibration.npz")["x"][:FROM_DATA])
    command = ["evaluate", compiled, "--data", few]
    missing = bitsmith(*command)
    assert missing.code == 2
    assert "nothing to compare the outputs with" in missing.err
    said = bitsmith(*command, "--reference", digits / "digits.onnx", "--json", "--quiet")
    measured = json.loads((compiled / "manifest.json").read_text())["distance"]["sqnr_db"]["y"]
    assert json.loads(said.out)["scores"][0]["value"] == pytest.approx(measured, abs=0.01)


def test_a_float_model_is_its_own_best_reference(bitsmith: Run, digits: Path) -> None:
    model = digits / "digits.onnx"
    command = ["evaluate", model, "--data", digits / "evaluation.npz", "--reference", model]
    assert "sqnr infinite: no difference" in bitsmith(*command).out
    assert "mse 0" in bitsmith(*command, "--metric", "mse").out
    assert json.loads(bitsmith(*command, "--json", "--quiet").out)["scores"][0]["value"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metric", "top2"], "--metric: there is no metric top2. Did you mean top1?"),
        (["--metric", "auc"], "but there are 2 classes"),
        (["--metric", "mse"], "cannot be compared with y"),
        (["--window", "64:x"], "--window: '64:x' is no window. Give SIZE:STRIDE"),
        (["--window", "63"], "--window: a window of 63 elements for a model input of shape (1, 8, 8). Give 64:STRIDE"),
        (["--reference", "missing.onnx"], "missing.onnx: there is no such file"),
        (["--data", "missing.npz"], "missing.npz: cannot be read: No such file"),
    ],
)
def test_evaluate_refuses_what_makes_no_sense(
    bitsmith: Run, compiled: Path, digits: Path, options: list[str], message: str
) -> None:
    said = bitsmith("evaluate", compiled, "--data", digits / "evaluation.npz", *options)
    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1


def test_verify_passes_what_compile_wrote(bitsmith: Run, compiled: Path, digits: Path) -> None:
    before = file_hashes(compiled)
    said = bitsmith("verify", compiled, "--data", digits / "evaluation.npz")
    assert said.code == 0
    assert "integer.onnx: 0 of 6,000 outputs differ on 600 samples of evaluation.npz" in said.out
    assert said.out.splitlines()[-1] == "verified"
    assert file_hashes(compiled) == before


@pytest.mark.parametrize("name", ["integer.onnx", "model.qdq.onnx", "vectors.npz", "report.html"])
@pytest.mark.parametrize("how", ["altered", "missing", "cut"])
def test_verify_names_a_damaged_file(bitsmith: Run, copied: Path, name: str, how: str) -> None:
    path = copied / name
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if how == "cut" else bytes([*content[:-1], content[-1] ^ 1]))
    said = bitsmith("verify", copied)
    assert said.code == 1
    assert f"altered: {name}: is " in said.out
    assert said.out.splitlines()[-1] == "not verified"
    assert said.err == ""


def test_verify_names_a_file_that_is_not_listed(bitsmith: Run, copied: Path) -> None:
    (copied / "extra.txt").write_text("hello")
    said = bitsmith("verify", copied)
    assert said.code == 1
    assert "altered: extra.txt: is not in manifest.json" in said.out


def test_verify_finds_wrong_outputs_behind_right_hashes(bitsmith: Run, copied: Path) -> None:
    """The artifact itself is held to the reference, not only its bytes to their hashes."""
    with np.load(copied / "vectors.npz") as stored:
        arrays = dict(stored)
    arrays["output.y"][5, 3] += 1
    np.savez(copied / "vectors.npz", **arrays)
    _rehash(copied)
    said = bitsmith("verify", copied)
    assert said.code == 1
    assert "vectors.npz: 1 of 480 outputs differ" in said.out
    assert "first in y, and none may" in said.out


def test_verify_tells_how_far_the_qdq_graph_is(bitsmith: Run, copied: Path) -> None:
    model = onnx.load(copied / "model.qdq.onnx")
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT32 and len(tensor.dims) == 1:
            shifted = onnx.numpy_helper.to_array(tensor) + 4000
            tensor.CopyFrom(onnx.numpy_helper.from_array(shifted, tensor.name))
    onnx.save(model, copied / "model.qdq.onnx")
    _rehash(copied)
    said = bitsmith("verify", copied, "--json", "--quiet")
    qdq = next(check for check in json.loads(said.out)["checks"] if check["subject"] == "model.qdq.onnx")
    assert qdq["differing"] > 100
    assert qdq["largest"] > 1


def _rehash(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = file_hashes(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no manifest.json. Give the folder that `bitsmith compile -o` wrote"),
        ("{", "manifest.json: is damaged"),
        ("[]", "is not a manifest of this version"),
        ('{"format": "bitsmith artifact 0"}', "is not a manifest of this version"),
        ('{"format": "bitsmith artifact 1"}', "lists no files"),
        ('{"format": "bitsmith artifact 1", "files": {}}', "does not say which backend"),
        ('{"format": "bitsmith artifact 1", "files": {}, "target": 3}', "does not say which backend"),
    ],
)
@pytest.mark.parametrize("command", ["verify", "evaluate", "report"])
def test_a_folder_that_is_no_artifact_is_told(
    bitsmith: Run, copied: Path, digits: Path, command: str, content: str | None, message: str
) -> None:
    (copied / "manifest.json").unlink()
    if content is not None:
        (copied / "manifest.json").write_text(content)
    said = bitsmith(command, copied, *(["--data", digits / "evaluation.npz"] if command == "evaluate" else []))
    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1


def test_check_passes_a_model_that_compiles(bitsmith: Run, digits: Path) -> None:
    said = bitsmith("check", digits / "digits.onnx", "--target", "onnxruntime")
    assert said.code == 0
    assert said.out.startswith("Every node can be compiled for onnxruntime (normalised: 1 Add, 5 Conv")
    model = digits / "digits.onnx"
    assert said.out.endswith(
        f"\nNext:\n  bitsmith compile {model} --target onnxruntime --calibration DATA.npz -o OUT/\n"
    )


def test_what_check_says_comes_next_has_the_shapes_that_it_was_given(bitsmith: Run, tmp_path: Path) -> None:
    sketch = Sketch(x=("N", "features"))
    onnx.save(sketch.model(sketch.add("Relu", "x")), tmp_path / "open model.onnx")
    said = bitsmith("check", tmp_path / "open model.onnx", "--target", "host", "--input-shape", "x=1,4")
    assert said.code == 0
    command = said.out.splitlines()[-1]
    assert shlex.split(command)[2:] == [
        *(str(tmp_path / "open model.onnx"), "--target", "host", "--input-shape", "x=1,4"),
        *("--calibration", "DATA.npz", "-o", "OUT/"),
    ]


def test_check_names_what_is_refused_alike_together(bitsmith: Run, tmp_path: Path) -> None:
    sketch = Sketch(x=("N", 4))
    value = "x"
    for index in range(6):
        value = sketch.add("Hardmax", value, name=f"layer{index}")
    onnx.save(sketch.model(value), tmp_path / "deep.onnx")
    said = bitsmith("check", tmp_path / "deep.onnx", "--target", "host")
    assert said.code == 1
    first, advice, *_ = said.out.splitlines()
    alike = ", ".join(f"Hardmax layer{index}" for index in range(4))
    assert first == f"{alike} and 2 more: there is no integer form of this op."
    assert advice.startswith("    ")
    refused = json.loads(bitsmith("check", tmp_path / "deep.onnx", "--target", "host", "--json").out)["refusals"]
    assert [one["where"] for one in refused] == [f"Hardmax layer{index}" for index in range(6)]


def test_report_is_a_page_of_its_own(bitsmith: Run, copied: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    before = file_hashes(copied)
    assert bitsmith("report", copied, "-o", page).out == f"{page}\n"
    assert page.read_bytes() == (copied / "report.html").read_bytes()
    (copied / "report.html").write_text("gone")
    assert bitsmith("report", copied).code == 0
    assert file_hashes(copied) == before
    assert bitsmith("verify", copied).code == 0
    text = page.read_text()
    for needle in ("<!DOCTYPE html>", "stem.conv", "int8, scale", "fold-batch-norm", "sha256"):
        assert needle in text
    assert "http" not in text
    assert "src=" not in text
    assert "@import" not in text
    assert "<link" not in text


def test_report_escapes_names(bitsmith: Run, copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    hostile = "</title><svg onload='alert(1)'>\"&"
    manifest["model"]["name"] = hostile
    manifest["layers"][0]["name"] = hostile
    (copied / "manifest.json").write_text(json.dumps(manifest))
    assert bitsmith("report", copied).code == 0
    page = (copied / "report.html").read_text()
    assert "<svg onload" not in page
    assert page.count("&lt;svg onload") >= 4


def test_passes_are_listed_with_their_options(bitsmith: Run) -> None:
    said = bitsmith("passes")
    assert said.code == 0
    (line,) = [line for line in said.out.splitlines() if line.startswith("quantize-weights")]
    assert "{bits=8,granularity=channel," in line
    listed = json.loads(bitsmith("passes", "--json").out)["passes"]
    assert all(one["summary"] for one in listed)
    assert [one["name"] for one in listed] == sorted(one["name"] for one in listed)


def test_targets_are_listed(bitsmith: Run) -> None:
    said = bitsmith("targets")
    assert said.code == 0
    assert "onnxruntime" in said.out
    (target,) = [
        one for one in json.loads(bitsmith("targets", "--json").out)["targets"] if one["name"] == "onnxruntime"
    ]
    assert target["weight_bits"][0] == 8


def test_a_reader_that_stops_reading_is_no_error() -> None:
    command = f"{sys.executable} -m bitsmith passes | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("compil --json | true", 2, "there is no command compil"),
        ("compil --json >/dev/full", 2, "there is no command compil"),
        ("passes --json >/dev/full", 2, "standard output, or a temporary file: cannot be written: No space left"),
        ("passes >&-", 0, ""),
        ("compil 2>&-", 2, ""),
    ],
)
def test_streams_that_cannot_be_written_to_end_in_no_traceback(line: str, code: int, told: str) -> None:
    command = f"{sys.executable} -m bitsmith {line}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert told in done.stderr
    assert done.stderr.count("\n") == bool(told)
