"""Recipes: from files and options to a pipeline, and what contradicts itself."""

import dataclasses
from pathlib import Path

import pytest

from bitsmith.errors import PipelineError
from bitsmith.ir.allocation import Allocation
from bitsmith.ir.sensitivity import Sensitivity
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
        (Recipe(weights=8, data_free=True), "correct-biases"),
        (Recipe(weights=8, correct_biases=True), "correct-biases"),
        (Recipe(weights=4, correct_biases=True), "reconstruct{solver=polished}"),
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


MIXED_TARGET = dataclasses.replace(WIDE_TARGET, ram=32768)


@pytest.mark.parametrize(
    ("recipe", "order"),
    [
        (
            Recipe(weights="mixed", activations="mixed"),
            "calibrate measure-sensitivity allocate-bits quantize-weights quantize-activations",
        ),
        (
            Recipe(weights="mixed", activations=4),
            "calibrate quantize-activations measure-sensitivity allocate-bits quantize-weights",
        ),
        (
            Recipe(weights=4, activations="mixed", sensitivity=Sensitivity("known")),
            "calibrate quantize-weights allocate-bits quantize-activations",
        ),
        (Recipe(allocation=Allocation({"w": 4})), "calibrate quantize-weights quantize-activations"),
    ],
)
def test_bits_are_chosen_after_what_is_settled_and_before_what_they_are_for(recipe: Recipe, order: str) -> None:
    found = passes(recipe.passes(MIXED_TARGET))
    kept = [name for name in found if name in {*order.split(), "measure-sensitivity", "allocate-bits"}]
    assert kept == order.split()
    assert "reconstruct" in found


def test_what_is_settled_is_measured_at_its_bits_alone() -> None:
    found = passes(Recipe(weights="mixed", activations=4, granularity="tensor").passes(MIXED_TARGET))
    assert str(found["measure-sensitivity"]) == "measure-sensitivity{activations=4,granularity=tensor}"
    found = passes(Recipe(weights=4, activations="mixed").passes(MIXED_TARGET))
    assert str(found["measure-sensitivity"]) == "measure-sensitivity{weights=4}"


def test_weights_that_are_only_rounded_to_the_nearest_are_measured_so() -> None:
    found = passes(Recipe(weights="mixed", effort="fast").passes(MIXED_TARGET))
    assert "reconstruct" not in found
    assert str(found["measure-sensitivity"]) == "measure-sensitivity{method=direct,activations=8}"


def test_budgets_are_those_given_and_of_mixed_bits_those_of_the_target() -> None:
    given = Recipe(budgets={"flash": 65536.0, "mean-weight-bits": 3.5})
    assert given.limits(MIXED_TARGET) == {"flash": 65536, "mean-weight-bits": 3.5}
    mixed = dataclasses.replace(given, weights="mixed")
    assert mixed.limits(MIXED_TARGET) == {"ram": 32768, "flash": 65536, "mean-weight-bits": 3.5}
    assert mixed.limits(dataclasses.replace(MIXED_TARGET, flash=1, ram=None)) == {
        "flash": 65536,
        "mean-weight-bits": 3.5,
    }
    allocate = passes(mixed.passes(MIXED_TARGET))["allocate-bits"]
    assert str(allocate) == "allocate-bits{flash=65536,ram=32768,mean_weight_bits=3.5}"


def test_an_allocation_is_compiled_as_the_mixed_bits_it_may_come_of(tmp_path: Path) -> None:
    mixed = passes(Recipe(weights="mixed", activations="mixed", max_loss=1.0).passes(WIDE_TARGET))
    given = passes(Recipe(allocation=Allocation({"w": 8}, {"x": 8})).passes(WIDE_TARGET))
    assert [one for one in mixed if one not in ("measure-sensitivity", "allocate-bits")] == list(given)
    assert all(mixed[name] == given[name] for name in given)
    assert "equalize" not in passes(Recipe(allocation=Allocation({"w": 4})).passes(WIDE_TARGET))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(weights="mixed"), "mixed bits without a budget. Give --budget flash=64KiB"),
        (Recipe(max_loss=1.0), "a largest loss, where no bits are chosen. Give --weights mixed"),
        (Recipe(weights="mixed", allocation=Allocation({"w": 4})), "mixed bits, and an allocation that settles them"),
        (Recipe(budgets={"cycles": 1.0}), "target board: a budget of cycles, where nothing says how many"),
        (Recipe(pipeline="integerize", max_loss=1.0), "max_loss has no effect beside a pipeline"),
    ],
)
def test_mixed_bits_want_an_aim(recipe: Recipe, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        recipe.passes(WIDE_TARGET)


def test_a_file_may_hold_budgets_and_name_an_allocation(tmp_path: Path) -> None:
    bits = tmp_path / "bits.json"
    bits.write_text('{"weights": {"w": 4}}')
    path = tmp_path / "recipe.toml"
    path.write_text(f'allocation = "{bits}"\n[budgets]\nflash = "64KiB"\nmean-weight-bits = 3.5\n')
    budgets = {"flash": 65536.0, "mean-weight-bits": 3.5}
    assert Recipe.read(path) == Recipe(allocation=Allocation({"w": 4}), budgets=budgets)
    assert Recipe.read(path).overridden(Recipe(budgets={"flash": 1.0})).budgets == {**budgets, "flash": 1.0}


def test_an_allocation_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f"allocation = '{tmp_path / 'absent.json'}'")
    with pytest.raises(PipelineError, match=r"absent\.json: cannot be read: No such file"):
        Recipe.read(path)


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
        ("budgets = 3", "budgets: must be a table"),
        ("budgets = {flsh = 3}", "budgets: there is no budget flsh. Did you mean flash"),
        ("max_loss = 100", "max_loss: must be a number of points from 0 to 100"),
        ("activations = 'many'", "activations: must be an integer from 2 to 16"),
        ("input_shapes = 3", "input_shapes: must be a table"),
        ("input_shapes = {x = 3}", "the shape of x must be a list"),
        ("input_shapes = {x = [0]}", "must be an integer of at least 1, not 0"),
        (f"input_ranges = {{x = [0, {10**400}]}}", "the range of x must be two numbers"),
        (f"budgets = {{ram = {10**400}}}", "ram must be a positive number of bytes"),
        (f"budgets = {{bops = {10**400}}}", "bops must be a positive number"),
        ("pipeline = 'integerize'\nweights = 8", "weights has no effect beside a pipeline"),
    ],
)
def test_a_mistake_in_a_file_is_told(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(PipelineError, match=message) as caught:
        Recipe.read(path)
    assert str(path) in str(caught.value)
