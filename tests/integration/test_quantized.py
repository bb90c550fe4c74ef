"""Models that onnxruntime quantized, from the prompt: compiled, evaluated, and what cannot be asked of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.benchmarks.interchange import quantized_by_onnxruntime
from tests.integration.conftest import Run

FORMS = {
    "qdq_channel": ("QDQ", "QInt8", "QInt8", True),
    "qdq_tensor": ("QDQ", "QUInt8", "QInt8", False),
    "qdq_int4": ("QDQ", "QInt8", "QInt4", True),
    "qoperator": ("QOperator", "QUInt8", "QInt8", True),
}


@pytest.fixture(scope="module")
def quantized(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The digits model as quantize_static makes it, by form."""
    folder = tmp_path_factory.mktemp("quantized")
    samples = np.load(digits / "calibration.npz")["x"][:64].astype(np.float32)
    return {
        name: quantized_by_onnxruntime(digits / "digits.onnx", samples, form, folder / f"{name}.onnx")
        for name, form in FORMS.items()
    }


@pytest.mark.parametrize("form", FORMS)
def test_the_accuracy_of_the_file_is_kept(
    form: str, quantized: dict[str, Path], digits: Path, tmp_path: Path, bitsmith: Run
) -> None:
    out = tmp_path / "out"
    compiled = bitsmith("compile", quantized[form], "--target", "onnxruntime", "-o", out, "--json")
    assert compiled.code == 0, compiled.err
    manifest = json.loads(compiled.out)
    assert manifest["calibration"] is None
    found = manifest["quantized_by_others"]
    assert found["dialect"] == ("QOperator" if form == "qoperator" else "QDQ")
    assert found["operations_compared"] >= 8
    assert found["largest"] <= 1
    assert found["differing"] <= found["elements"] // 10_000
    scores = [
        json.loads(bitsmith("evaluate", model, "--data", digits / "evaluation.npz", "--json").out)["scores"]
        for model in (quantized[form], out)
    ]
    theirs, ours, backend = (score["value"] for score in (*scores[0], *scores[1]))
    assert abs(ours - theirs) <= 1 / 600
    assert backend == ours
    assert "of the file, which is in Q" in (out / "report.html").read_text()


def test_c_equals_the_integers_of_the_file(
    quantized: dict[str, Path], digits: Path, tmp_path: Path, bitsmith: Run
) -> None:
    out = tmp_path / "out"
    data = digits / "calibration.npz"
    said = bitsmith("compile", quantized["qdq_channel"], "--target", "cortex-m4", "-o", out, "--calibration", data)
    assert said.code == 0, said.err
    assert "c: 0 of" in said.out
    assert "elements differ from the file's" in said.out


def test_check_tells_what_a_target_cannot_do(quantized: dict[str, Path], bitsmith: Run) -> None:
    assert bitsmith("check", quantized["qdq_channel"], "--target", "cortex-m4").code == 0
    said = bitsmith("check", quantized["qdq_channel"], "--target", "hls4ml-vitis")
    assert said.code == 1
    assert "x has the zero point -128" in said.out
    # Every activation of the file is asymmetric, but for those behind ops that cannot be.
    assert said.out.count("has the zero point") > 5
    json_said = json.loads(bitsmith("check", quantized["qdq_channel"], "--target", "hls4ml-vitis", "--json").out)
    assert len(json_said["refusals"]) == int(said.out.splitlines()[-1].split()[0])


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--weights", "4"], "--weights has no effect"),
        (["--activations", "8"], "--activations has no effect"),
        (["--observer", "mse"], "--observer has no effect"),
        (["--data-free"], "--data-free has no effect"),
        (["--effort", "best"], "--effort has no effect"),
        (["--verify-each"], "cannot be verified one by one"),
        (["--pipeline", "fold-constants,integerize"], "no pass of this pipeline takes its formats"),
    ],
)
def test_options_that_say_otherwise_are_one_line(
    options: list[str], what: str, quantized: dict[str, Path], tmp_path: Path, bitsmith: Run
) -> None:
    said = bitsmith("compile", quantized["qdq_tensor"], "--target", "onnxruntime", "-o", tmp_path / "out", *options)
    assert said.code == 2
    assert what in said.err
    assert said.err.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()


def test_what_a_pass_of_ones_own_may_follow(quantized: dict[str, Path], tmp_path: Path, bitsmith: Run) -> None:
    from bitsmith.pipelines import ADOPT

    said = bitsmith(
        "compile",
        *(quantized["qdq_tensor"], "--target", "onnxruntime", "-o", tmp_path / "out"),
        *("--pipeline", f"{ADOPT},drop-constant-channels"),
    )
    assert said.code == 0, said.err


def test_asymmetric_weights_are_refused_by_name(digits: Path, tmp_path: Path, bitsmith: Run) -> None:
    samples = np.load(digits / "calibration.npz")["x"][:16].astype(np.float32)
    form = ("QDQ", "QUInt8", "QUInt8", False)
    file = quantized_by_onnxruntime(digits / "digits.onnx", samples, form, tmp_path / "asymmetric.onnx")
    said = bitsmith("compile", file, "--target", "onnxruntime", "-o", tmp_path / "out")
    assert said.code == 2
    assert "Conv stem.conv" in said.err
    assert "asymmetric weights" in said.err
    assert "5 more: `bitsmith check` lists all." in said.err
    found = json.loads(bitsmith("check", file, "--target", "onnxruntime", "--json").out)["refusals"]
    assert len(found) == 6
    assert all("asymmetric weights" in one["reason"] for one in found)


def test_a_float_model_has_no_quantizers_to_adopt(digits: Path, tmp_path: Path, bitsmith: Run) -> None:
    said = bitsmith(
        *("compile", digits / "digits.onnx", "--target", "onnxruntime", "-o", tmp_path / "out"),
        *("--pipeline", "adopt-quantizers,integerize"),
    )
    assert said.code == 2
    assert "there are no quantizers to adopt" in said.err


def test_a_file_that_computes_something_else_by_then_is_not_handed_out(
    quantized: dict[str, Path], tmp_path: Path, bitsmith: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitsmith import fidelity

    def moved(model: onnx.ModelProto) -> onnx.ModelProto:
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        for tensor in changed.graph.initializer:
            if tensor.name.endswith("_scale") and len(tensor.dims) == 0:
                scale = onnx.numpy_helper.to_array(tensor) * np.float32(1.1)
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(scale, np.float32), tensor.name))
                break
        return changed

    monkeypatch.setattr(fidelity, "executable", moved)
    said = bitsmith("compile", quantized["qdq_tensor"], "--target", "onnxruntime", "-o", tmp_path / "out")
    assert said.code == 1
    assert "for another reason than rounding" in said.err
    assert not (tmp_path / "out").exists()
