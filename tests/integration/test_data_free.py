"""Compiling without data, from the prompt."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.integration.conftest import Run
from tests.sketch import Sketch, normal

COMPILE = ("compile", "model.onnx", "--target", "onnxruntime", "-o", "out")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with a model that keeps a batch normalisation, and data that it does not need."""
    monkeypatch.chdir(tmp_path)
    sketch = Sketch(x=("N", 3, 8, 8))
    made = sketch.add("Conv", "x", normal(4, 3, 3, 3), normal(4, seed=1), pads=[1, 1, 1, 1])
    parts = [normal(4, seed=2), normal(4, seed=3), normal(4, seed=4), np.full(4, 20.0, np.float32)]
    pooled = sketch.add("GlobalAveragePool", sketch.add("Relu", sketch.add("BatchNormalization", made, *parts)))
    onnx.save(
        sketch.model(sketch.add("Gemm", sketch.add("Flatten", pooled), normal(5, 4), normal(5), transB=1)), "model.onnx"
    )
    np.savez("data.npz", x=normal(8, 3, 8, 8))
    return tmp_path


def test_it_compiles_and_says_that_no_data_was_used(bitsmith: Run) -> None:
    said = bitsmith(*COMPILE, "--data-free", "--input-range", "x=-3,3")
    assert said.code == 0, said.err
    assert "inputs distilled from 1 batch normalisations" in said.out
    assert "made-up samples" in said.out
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert manifest["data_free"] is True
    assert manifest["calibration"]["file"] is None
    assert manifest["calibration"]["made_up"] == "distilled"
    assert "record-batch-norms,fold-batch-norm" in manifest["pipeline"]
    assert "no data: distilled" in Path("out/report.html").read_text()
    assert bitsmith("verify", "out").code == 0


def test_the_same_bytes_twice(bitsmith: Run) -> None:
    assert bitsmith(*COMPILE, "--data-free").code == 0
    first = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    assert bitsmith(*COMPILE, "--data-free").code == 0
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == first


def test_from_a_recipe(bitsmith: Run) -> None:
    Path("recipe.toml").write_text("data_free = true\n\n[input_ranges]\nx = [-2, 2.5]\n")
    assert bitsmith(*COMPILE, "--recipe", "recipe.toml").code == 0
    Path("recipe.toml").write_text("data_free = true\n\n[input_ranges]\nx = [2, 1]\n")
    said = bitsmith(*COMPILE, "--recipe", "recipe.toml")
    assert said.code == 2
    assert "the range of x must be two numbers, the lower one first" in said.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data-free", "--calibration", "data.npz"), "Give --calibration or --data-free, not both"),
        (
            ("--calibration", "data.npz", "--input-range", "x=0,1"),
            "an input range has no effect beside calibration data",
        ),
        (("--data-free", "--input-range", "z=0,1"), "the model has no input z. Its inputs are x."),
    ],
)
def test_mistakes_get_one_line(bitsmith: Run, options: tuple[str, ...], message: str) -> None:
    said = bitsmith(*COMPILE, *options)
    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not Path("out").exists()
