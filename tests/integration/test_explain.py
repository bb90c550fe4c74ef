"""What a compile says of its layers: printed, in the manifest, and in the report."""

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.integration.conftest import Run

FIGURES = {"weights_db", "activation_db", "output_db"}


@pytest.fixture
def arguments(digits: Path, tmp_path: Path) -> list[object]:
    model, data = digits / "digits.onnx", digits / "calibration.npz"
    return ["compile", model, "--target", "onnxruntime", "--calibration", data, "-o", tmp_path / "out"]


def test_the_worst_layers_are_printed_as_the_manifest_has_them(
    bitsmith: Run, arguments: list[object], tmp_path: Path
) -> None:
    said = bitsmith(*arguments, "--weights", 4)
    assert said.code == 0, said.err
    explained = json.loads((tmp_path / "out" / "manifest.json").read_text())["explain"]
    assert len(explained["worst"]) == 3
    costs = [one["output_db"] for one in explained["worst"]]
    (look,) = [one for one in explained["passes"] if one["pass"] == explained["ranked_after"]][-1:]
    every = [one["output_db"] for one in look["layers"].values() if isinstance(one["output_db"], float)]
    assert costs == sorted(every)[:3]
    page = (tmp_path / "out" / "report.html").read_text()
    for one in explained["worst"]:
        line = next(line for line in said.out.splitlines() if f"{one['layer']} alone leaves the outputs" in line)
        assert f"{one['output_db']:.1f} dB" in line
        for help in one["helps"][:2]:
            assert f"{help['change']} would gain {help['gain_db']:.1f} dB" in line
        assert one["layer"] in page
    assert "Where accuracy was lost, and what would help" in page


def test_the_option_that_advice_names_for_biases_gains_what_it_says(
    bitsmith: Run, arguments: list[object], tmp_path: Path
) -> None:
    said = bitsmith(*arguments)
    before = json.loads((tmp_path / "out" / "manifest.json").read_text())["explain"]
    (change,) = {help["change"] for one in before["worst"] for help in one["helps"] if "bias" in help["change"]}
    assert f"{change} would gain" in said.out
    (option,) = re.findall(r"\((--\S+)\)", change)
    again = bitsmith(*arguments, option)
    assert again.code == 0, again.err
    after = json.loads((tmp_path / "out" / "manifest.json").read_text())["explain"]
    ratios = after["passes"][-1]["layers"]
    advised = {
        one["layer"]: (one["output_db"], help["gain_db"])
        for one in before["worst"]
        for help in one["helps"]
        if help["change"] == change
    }
    # What is told was measured on these samples alone, and the pass takes the means of all.
    assert all(ratios[name]["output_db"] - ratio > gain / 2 for name, (ratio, gain) in advised.items())
    assert not any("bias" in help["change"] for one in after["worst"] for help in one["helps"])


def test_the_manifest_has_every_layer_after_every_pass_that_changed_one(compiled: Path, digits: Path) -> None:
    manifest = json.loads((compiled / "manifest.json").read_text())
    explained = manifest["explain"]
    names = [one["pass"].split("{")[0] for one in explained["passes"]]
    assert names[:2] == ["quantize-weights", "quantize-activations"]
    weighted = {layer["name"] for layer in manifest["layers"] if layer["macs"]}
    for look in explained["passes"]:
        assert weighted <= set(look["layers"])
        for name, one in look["layers"].items():
            assert set(one) == FIGURES
            assert (one["weights_db"] is not None) == (name in weighted)
    first, second = explained["passes"][:2]
    assert all(one["activation_db"] is None for one in first["layers"].values())
    assert all(one["activation_db"] is not None for one in second["layers"].values())


def test_errors_so_far_end_at_what_the_whole_graph_loses(compiled: Path, digits: Path) -> None:
    """The last layer's ratio, against ONNX Runtime on the two models as they lie on the disk."""
    manifest = json.loads((compiled / "manifest.json").read_text())
    samples = manifest["explain"]["samples"]
    with np.load(digits / "calibration.npz") as data:
        x = data["x"][:samples].astype(np.float32)
        if "mean" in data:
            x = (x - data["mean"]) / data["std"]
    outputs = []
    for path in (digits / "digits.onnx", compiled / "model.qdq.onnx"):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        outputs.append(session.run(None, {"x": x})[0].astype(np.float64))
    wanted, found = outputs
    ratio = 10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum())
    last = list(manifest["explain"]["accumulated_db"].values())[-1]
    assert last == pytest.approx(ratio, abs=0.5)


def test_no_explain_leaves_it_out(bitsmith: Run, arguments: list[object], tmp_path: Path) -> None:
    said = bitsmith(*arguments, "--no-explain")
    assert said.code == 0, said.err
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["explain"] is None
    assert not re.search("worst layers", said.out)
    assert "Where accuracy was lost" not in (tmp_path / "out" / "report.html").read_text()
    assert bitsmith("report", tmp_path / "out").code == 0
