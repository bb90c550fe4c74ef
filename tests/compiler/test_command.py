"""The command in the manifest: running it again gives the same bytes."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from bitsmith.cli import main
from bitsmith.command import command
from bitsmith.recipe import Recipe

GIVEN = [
    ["--target", "onnxruntime", "--effort", "fast", "--weights", "4", "--seed", "7", "--budget", "flash=20KiB"],
    ["--target", "mine.toml", "--activations", "6", "--granularity", "group=8", "--symmetric-activations"],
    ["--target", "onnxruntime", "--correct-biases"],
]


@pytest.mark.parametrize("given", GIVEN)
def test_the_command_of_a_manifest_compiles_the_same_again(
    given: list[str], digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("digits.onnx", "calibration.npz"):
        shutil.copy(digits / name, tmp_path)
    (tmp_path / "mine.toml").write_text(
        'backend = "onnxruntime"\nweight_bits = [4]\nactivation_bits = [8, 6]\ngranularities = ["channel", "group"]\n'
    )
    where = ["compile", str(digits / "digits.onnx"), "--calibration", str(digits / "calibration.npz"), "-o", "first"]
    assert main([*where, *given, "--no-explain", "--quiet"]) == 0
    found = json.loads((tmp_path / "first" / "manifest.json").read_text())["command"]
    program, *words = shlex.split(shlex.join(found))
    assert program == "bitsmith"
    assert main([word if word != "OUT/" else "second" for word in words]) == 0
    assert (tmp_path / "first" / "manifest.json").read_bytes() == (tmp_path / "second" / "manifest.json").read_bytes()


def test_every_field_of_a_recipe_is_an_option() -> None:
    recipe = Recipe(
        weights="mixed",
        activations=6,
        max_loss=0.5,
        budgets={"mean-weight-bits": 3.5, "bops": 2e9},
        data_free=True,
        input_ranges={"x": (0.0, 255.0)},
        input_shapes={"x": (1, 3, 8)},
        edges=8,
        observer="mse",
        scales="free",
        kernels=("stem.conv=portable",),
    )
    words = command("/here/m.onnx", "host", None, recipe)
    assert shlex.join(words) == (
        "bitsmith compile m.onnx --target host --data-free --input-range x=0.0,255.0 --input-shape x=1,3,8 "
        "--weights mixed --activations 6 --edges 8 --scales free --observer mse --max-loss 0.5 "
        "--budget mean-weight-bits=3.5 --budget bops=2000000000 --kernel stem.conv=portable --seed 0 -o OUT/"
    )
