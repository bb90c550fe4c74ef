"""`bitsmith compile` and what it leaves, from end to end on the digits model."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import bitsmith as api
from bitsmith.manifest import file_hashes
from tests.integration.conftest import Run
from tests.sketch import Sketch

FILES = ["integer.onnx", "manifest.json", "model.qdq.onnx", "report.html", "vectors.npz"]


@pytest.fixture
def arguments(digits: Path) -> list[object]:
    model, data = digits / "digits.onnx", digits / "calibration.npz"
    return ["compile", model, "--target", "onnxruntime", "--calibration", data]


def test_the_folder_holds_what_the_design_says(compiled: Path, digits: Path) -> None:
    assert sorted(os.listdir(compiled)) == FILES
    manifest = json.loads((compiled / "manifest.json").read_text())
    assert manifest["files"] == file_hashes(compiled)
    assert manifest["model"]["file"] == "digits.onnx"
    assert manifest["calibration"]["samples"] == 256
    assert manifest["pipeline"].endswith("integerize")
    assert manifest["target"]["name"] == "onnxruntime"
    assert set(manifest["versions"]) == {"bitsmith", "numpy", "onnx", "onnxruntime"}


def test_the_manifest_measures_what_is_in_the_model(compiled: Path, digits: Path) -> None:
    """Against the protobuf and the architecture, not against what computed the manifest."""
    manifest = json.loads((compiled / "manifest.json").read_text())
    floats = onnx.load(digits / "digits.onnx").graph.initializer
    given = sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in floats if tensor.data_type == 1)
    assert manifest["size"]["float_constants"] == given
    kept = onnx.load(compiled / "model.qdq.onnx").graph.initializer
    weights = [onnx.numpy_helper.to_array(tensor) for tensor in kept if tensor.data_type == onnx.TensorProto.INT8]
    assert manifest["size"]["integer_weights"] == sum(array.size for array in weights if array.ndim > 1)
    assert {layer["weight_bits"] for layer in manifest["layers"] if layer["macs"]} == {8}
    assert all(layer["accumulator_bits"] <= 32 for layer in manifest["layers"] if layer["accumulator_bits"])
    assert manifest["distance"]["sqnr_db"]["y"] > 30


def test_integer_onnx_takes_and_gives_the_integers_of_the_vectors(compiled: Path) -> None:
    """In stock ONNX Runtime, without anything of bitsmith."""
    session = onnxruntime.InferenceSession(compiled / "integer.onnx", providers=["CPUExecutionProvider"])
    with np.load(compiled / "vectors.npz") as stored:
        (y,) = session.run(["y"], {"x": stored["input.x"]})
        assert stored["input.x"].dtype == np.int8
        assert np.array_equal(y, stored["output.y"])


def test_the_same_inputs_give_the_same_bytes(
    compiled: Path, digits: Path, tmp_path: Path, bitsmith_process: Run, arguments: list[object]
) -> None:
    """In another process, from another folder, under other names of folders."""
    for name in ("digits.onnx", "calibration.npz"):
        shutil.copy(digits / name, tmp_path)
    relative = ["compile", "digits.onnx", "--target", "onnxruntime", "--calibration", "calibration.npz"]
    said = bitsmith_process(*relative, "-o", "elsewhere/out", cwd=tmp_path)
    assert said.code == 0, said.err
    for name in FILES:
        assert (tmp_path / "elsewhere" / "out" / name).read_bytes() == (compiled / name).read_bytes(), name


def test_no_file_holds_a_path_or_a_date(compiled: Path, digits: Path) -> None:
    for name in FILES:
        content = (compiled / name).read_bytes()
        assert str(digits.parent).encode() not in content
        assert not re.search(rb"20[2-9]\d-[01]\d-[0-3]\d", content)


def test_what_is_said_at_the_end(bitsmith: Run, arguments: list[object], tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = bitsmith(*arguments, "-o", out)
    assert said.code == 0
    for text in (
        "bytes in float ->",
        "times smaller",
        "dB at y",
        "integer.onnx: 0 of 480 outputs differ",
        f"bitsmith verify {out}",
    ):
        assert text in said.out
    # Passes and progress are for terminals: tests/integration/test_terminal.py sees them.
    assert said.err == ""
    assert "\033" not in said.out + said.err


def test_quiet_says_nothing(bitsmith: Run, arguments: list[object], tmp_path: Path) -> None:
    said = bitsmith(*arguments, "-o", tmp_path / "out", "--quiet")
    assert (said.code, said.out, said.err) == (0, "", "")


def test_json_is_the_manifest_with_the_times(bitsmith: Run, arguments: list[object], tmp_path: Path) -> None:
    said = bitsmith(*arguments, "-o", tmp_path / "out", "--json", "--quiet")
    told = json.loads(said.out)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert {key: told[key] for key in manifest} == manifest
    assert [one["pass"] for one in told["seconds"]] == [one["pass"] for one in manifest["passes"]]


def test_options_reach_the_graph(bitsmith: Run, arguments: list[object], tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = [
        "--weights",
        "4",
        "--granularity",
        "tensor",
        "--symmetric-activations",
        "--observer",
        "min-max",
        "--seed",
        "3",
    ]
    assert bitsmith(*arguments, "-o", out, *options).code == 0
    artifact = api.load(out)
    formats = [value.format for value in artifact.graph.values.values()]
    assert {one.zero_point for one in formats} == {0}
    weights = artifact.manifest["weights"].values()
    assert {(one["bits"], len(one["scale"])) for one in weights} == {(4, 1)}
    assert artifact.manifest["seed"] == 3


def test_a_recipe_does_what_the_options_do(bitsmith: Run, arguments: list[object], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('weights = 4\nobserver = "min-max"\n')
    assert bitsmith(*arguments, "-o", tmp_path / "one", "--recipe", recipe).code == 0
    assert bitsmith(*arguments, "-o", tmp_path / "two", "--weights", 4, "--observer", "min-max").code == 0
    assert file_hashes(tmp_path / "one") == file_hashes(tmp_path / "two")


def test_the_printed_pipeline_gives_the_same_folder(
    bitsmith: Run, arguments: list[object], compiled: Path, tmp_path: Path
) -> None:
    pipeline = json.loads((compiled / "manifest.json").read_text())["pipeline"]
    assert bitsmith(*arguments, "-o", tmp_path / "out", "--pipeline", pipeline).code == 0
    made, given = file_hashes(tmp_path / "out"), file_hashes(compiled)
    # The page says which command makes it again, and this is another.
    assert made.pop("report.html") != given.pop("report.html")
    assert made == given


def test_verify_each_holds_every_pass_and_changes_nothing(
    bitsmith: Run, arguments: list[object], compiled: Path, tmp_path: Path
) -> None:
    assert bitsmith(*arguments, "-o", tmp_path / "out", "--verify-each").code == 0
    assert file_hashes(tmp_path / "out") == file_hashes(compiled)


def test_dumps_run(bitsmith: Run, arguments: list[object], tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    assert bitsmith(*arguments, "-o", tmp_path / "out", "--dump-dir", dump).code == 0
    names = sorted(path.name for path in dump.iterdir())
    assert names[0] == "00-import.onnx"
    assert names[-1].endswith("-integerize.onnx")
    x = np.zeros((2, 1, 8, 8), np.float32)
    for name in (names[0], names[-2]):
        session = onnxruntime.InferenceSession(dump / name, providers=["CPUExecutionProvider"])
        assert session.run(None, {"x": x})[0].shape == (2, 10)
    assert (dump / names[-1]).read_bytes() == (tmp_path / "out" / "integer.onnx").read_bytes()


def test_an_older_output_is_replaced(bitsmith: Run, arguments: list[object], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert bitsmith(*arguments, "-o", out, "--weights", 4).code == 0
    before = file_hashes(out)
    assert bitsmith(*arguments, "-o", out).code == 0
    assert file_hashes(out) != before
    assert os.listdir(tmp_path) == ["out"]


def test_the_python_api_does_the_same(digits: Path, compiled: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    artifact = api.compile(digits / "digits.onnx", "onnxruntime", digits / "calibration.npz", out)
    assert file_hashes(out) == file_hashes(compiled)
    assert artifact.manifest == api.load(compiled).manifest
    assert api.verify(out).passed
    scores = api.evaluate(out, digits / "evaluation.npz")
    assert [score.model for score in scores] == ["integer.onnx", "model.qdq.onnx"]


def test_the_summary_tells_what_the_samples_made_of_the_inputs(bitsmith: Run, tmp_path: Path) -> None:
    """Bytes where the model was trained on their quotients by 255 are legal: the range is all that gives them away."""
    sketch = Sketch(pixels=("N", 8), other=("N", 8))
    onnx.save(sketch.model(sketch.add("Add", "pixels", "other")), tmp_path / "two.onnx")
    recorded = np.arange(256, dtype=np.uint8).reshape(32, 8)
    np.savez(tmp_path / "data.npz", pixels=recorded, other=recorded / 127.5 - 1)
    usual = ["--target", "onnxruntime", "--calibration", tmp_path / "data.npz", "--observer", "min-max", "--no-explain"]
    said = bitsmith("compile", tmp_path / "two.onnx", *usual, "-o", tmp_path / "out")
    assert said.code == 0, said.err
    (line,) = [line.split(maxsplit=1)[1] for line in said.out.splitlines() if line.startswith("  calibration ")]
    assert line == "32 samples of data.npz; pixels is held from 0 to 255; other is held from -1.004 to 0.9961"
