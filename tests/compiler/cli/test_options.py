"""What the options of a command make of a recipe: the same for compile and search."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bitsmith.cli.options import recipe_given
from bitsmith.cli.parser import parse
from bitsmith.ir.allocation import Allocation
from bitsmith.ir.sensitivity import Sensitivity
from bitsmith.recipe import Recipe

COMPILE = ["compile", "m.onnx", "--target", "host", "-o", "out"]
SEARCH = ["search", "m.onnx", "--target", "host", "-o", "out", "--calibration", "d.npz", "--data", "e.npz"]

BOTH = {
    "--effort best": Recipe(effort="best"),
    "--weights 4 --activations 6 --edges 7": Recipe(weights=4, activations=6, edges=7),
    "--weights mixed": Recipe(weights="mixed"),
    "--granularity group=16 --scales power-of-two": Recipe(granularity="group=16", scales="power-of-two"),
    "--symmetric-activations --correct-biases": Recipe(symmetric_activations=True, correct_biases=True),
    "--observer kl --seed 3": Recipe(observer="kl", seed=3),
    "--input-shape x=1,2 --input-shape y=3": Recipe(input_shapes={"x": (1, 2), "y": (3,)}),
}

ALONE = {
    "--pipeline integerize": Recipe(pipeline="integerize"),
    "--kernel dsp --kernel a=portable": Recipe(kernels=("dsp", "a=portable")),
    "--budget flash=1KiB --budget ram=2000 --max-loss 1": Recipe(budgets={"flash": 1024, "ram": 2000}, max_loss=1.0),
    "--data-free --input-range x=0,1": Recipe(data_free=True, input_ranges={"x": (0.0, 1.0)}),
}


@pytest.mark.parametrize("command", [COMPILE, SEARCH])
@pytest.mark.parametrize(("given", "expected"), BOTH.items())
def test_options_of_both_commands_mean_the_same(command: list[str], given: str, expected: Recipe) -> None:
    assert recipe_given(parse([*command, *given.split()])[1]) == expected


@pytest.mark.parametrize(("given", "expected"), ALONE.items())
def test_options_of_compile_alone(given: str, expected: Recipe) -> None:
    assert recipe_given(parse([*COMPILE, *given.split()])[1]) == expected


def test_files_of_bits_are_read(tmp_path: Path) -> None:
    bits, losses = Allocation({"w": 4}), Sensitivity("direct", {"w": {2: 0.5, 4: 0.0}})
    (tmp_path / "bits.json").write_text(json.dumps(bits.to_json()))
    (tmp_path / "losses.json").write_text(json.dumps(losses.to_json()))
    given = ["--allocation", f"{tmp_path}/bits.json", "--sensitivity", f"{tmp_path}/losses.json"]
    assert recipe_given(parse([*COMPILE, *given])[1]) == Recipe(allocation=bits, sensitivity=losses)
