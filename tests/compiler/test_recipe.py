"""Recipes: from files and options to a pipeline, and what contradicts itself."""

import dataclasses
from pathlib import Path

import pytest

from bitsmith.errors import PipelineError
from bitsmith.manager import Pass, Pipeline
from bitsmith.recipe import Recipe
from bitsmith.target import Target

TARGET = Target("board", "onnxruntime", weight_bits=(8, 4), activation_bits=(8,), granularities=("channel",))


NAMED = ("bits", "granularity", "observer", "symmetric")


def passes(pipeline: Pipeline) -> dict[str, Pass]:
    return {one.name: one for one in pipeline.passes}


def options(one: Pass) -> dict[str, object]:
    """Three of a pass's options."""
    return {name: value for name, value in dataclasses.asdict(one).items() if name in NAMED}


def test_the_default_pipeline_is_what_the_target_prefers() -> None:
    found = passes(Recipe().passes(TARGET))
    assert options(found["quantize-weights"]) == {"bits": 8, "granularity": "channel"}
    assert options(found["quantize-activations"]) == {"bits": 8, "observer": "auto", "symmetric": False}
    assert "reconstruct" not in found
    assert list(found)[-1] == "integerize"


def test_options_reach_their_passes() -> None:
    found = passes(Recipe(weights=4, symmetric_activations=True, observer="kl").passes(TARGET))
    assert options(found["quantize-weights"]) == {"bits": 4, "granularity": "channel"}
    assert options(found["quantize-activations"]) == {"bits": 8, "observer": "kl", "symmetric": True}


WIDE_TARGET = Target(
    "board",
    "onnxruntime",
    weight_bits=(8, 6, 4, 2),
    activation_bits=(8, 4),
    granularities=("channel", "tensor", "group"),
    weight_formats=("int", "ternary", "codebook", "e3m2"),
)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (Recipe(weights=4), "reconstruct{solver=polished}"),
        (Recipe(weights=4, effort="best"), "reconstruct{solver=thorough}"),
        (Recipe(weights=4, effort="fast"), "correct-biases"),
        (Recipe(weights=4, data_free=True), "correct-biases"),
        (Recipe(activations=4), "reconstruct{solver=polished}"),
        (Recipe(weights=8, granularity="tensor"), "equalize"),
        (Recipe(weights=4, scales="power-of-two"), "reconstruct{solver=polished,scales=power-of-two}"),
        (Recipe(weights="codebook16"), "quantize-weights{bits=4,granularity=channel,format=codebook}"),
        (Recipe(weights="e3m2"), "quantize-weights{bits=6,granularity=channel,format=e3m2}"),
        (Recipe(weights=4, granularity="group=16"), "quantize-weights{bits=4,granularity=channel,group=16}"),
        (Recipe(activations=4, edges=4), "quantize-activations{bits=4,edges=4,observer=mse}"),
    ],
)
def test_a_recipe_chooses_its_passes(recipe: Recipe, expected: str) -> None:
    (wanted,) = Pipeline.parse(expected).passes
    assert wanted in recipe.passes(WIDE_TARGET).passes


def test_wide_integers_are_rounded_to_the_nearest() -> None:
    assert not {"reconstruct", "correct-biases", "equalize"} & set(passes(Recipe(weights=8).passes(WIDE_TARGET)))


def test_a_target_may_ask_for_symmetric_activations() -> None:
    symmetric = dataclasses.replace(TARGET, symmetric_activations=True)
    assert dataclasses.asdict(passes(Recipe().passes(symmetric))["quantize-activations"])["symmetric"] is True
    with pytest.raises(PipelineError, match="target board: activations must be symmetric"):
        Recipe(symmetric_activations=False).passes(symmetric)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(weights=3), "target board: weights 3 is not what it runs. It runs weights 8 or 4."),
        (Recipe(activations=4), "target board: activations 4 is not what it runs. It runs activations 8."),
        (
            Recipe(granularity="tensor"),
            "target board: granularity tensor is not what it runs. It runs granularity channel.",
        ),
        (Recipe(weights="ternary"), "target board: weights ternary is not what it runs. It runs weights int."),
        (
            Recipe(granularity="group=8"),
            "target board: granularity group is not what it runs. It runs granularity channel.",
        ),
        (
            Recipe(pipeline="integerize", weights=8),
            "weights has no effect beside a pipeline. Give it as an option of its pass: quantize-weights{bits=...}.",
        ),
        (Recipe(pipeline="integerise"), "there is no pass called integerise. Did you mean integerize?"),
        (Recipe(pipeline="integerize{x=1}"), "pass integerize: there is no option x. integerize takes no options."),
        (Recipe(pipeline=""), "the pipeline is empty. `bitsmith passes` lists what can stand in one."),
    ],
)
def test_what_cannot_be_done_is_told(recipe: Recipe, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        recipe.passes(TARGET)
    assert str(caught.value) == message


def test_a_file_holds_every_field(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('weights = 4\nseed = 7\nobserver = "min-max"\n[input_shapes]\nx = [1, 3, 32, 32]\n')
    assert Recipe.read(path) == Recipe(weights=4, seed=7, observer="min-max", input_shapes={"x": (1, 3, 32, 32)})


def test_a_pipeline_in_a_file_may_be_a_list(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('pipeline = ["remove-no-ops", "calibrate{bins=64}", "remove-no-ops"]')
    assert Recipe.read(path).pipeline == "remove-no-ops,calibrate{bins=64},remove-no-ops"


def test_options_come_before_the_file(tmp_path: Path) -> None:
    read = Recipe(weights=4, seed=7, input_shapes={"x": (1, 2), "z": (1, 4)})
    said = Recipe(weights=8, input_shapes={"x": (1, 3)})
    assert read.overridden(said) == Recipe(weights=8, seed=7, input_shapes={"x": (1, 3), "z": (1, 4)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weight = 8", r"weight: there is no such key\. Did you mean weights\?"),
        ('weights = "many"', "weights: 'many' is neither a width in bits nor one of ternary"),
        ("observer = 'entropy'", "observer: 'entropy' is not known"),
        ("pipeline = 3", "pipeline: must be a text"),
        ("seed = -1", "seed: must be an integer from 0"),
        ("input_shapes = 3", "input_shapes: must be a table"),
        ("input_shapes = {x = 3}", "the shape of x must be a list"),
        ("input_shapes = {x = [0]}", "must be an integer of at least 1, not 0"),
        ("pipeline = 'integerize'\nweights = 8", "weights has no effect beside a pipeline"),
    ],
)
def test_a_mistake_in_a_file_is_told(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(PipelineError, match=message) as caught:
        Recipe.read(path)
    assert str(path) in str(caught.value)
