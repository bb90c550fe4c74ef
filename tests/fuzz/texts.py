"""Mutated texts: recipes, targets, pipelines, the command line, and the JSON of allocations and sensitivities."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path

from bitsmith import registry
from bitsmith.allocation.files import read_allocation, read_sensitivity
from bitsmith.cli.parser import build, parse
from bitsmith.dataset import Dataset
from bitsmith.errors import PipelineError
from bitsmith.importing.load import load_graph
from bitsmith.ir.allocation import Allocation
from bitsmith.ir.sensitivity import Sensitivity
from bitsmith.legality import backend_of, refusals
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import ADOPT, NORMALISE
from bitsmith.recipe import Recipe
from bitsmith.recipe_file import READERS, WEIGHTS
from bitsmith.target import Target, installed_targets, load_target, read_target
from tests.fuzz.fuzz_target import FuzzTarget
from tests.fuzz.mutations import json_of, text_of
from tests.sketch import Sketch, normal

LONG = re.compile(r"\d{4}|[eE]\+?\d\d")
"""Numbers that ask for much work, which is no fault: such a pipeline is read, and not run."""

PUNCTUATION = tuple("[]{}=,.:;\"'#\n-+_")


@cache
def _written(suffix: str) -> Path:
    """A file that every input of this process is written to in turn."""
    return Path(tempfile.mkdtemp(prefix="bitsmith-fuzz-")) / f"given{suffix}"


def _file(given: bytes, suffix: str) -> Path:
    path = _written(suffix)
    path.write_bytes(given)
    return path


# Recipes.


def recipes() -> Iterator[bytes]:
    yield b'weights = 4\nactivations = 8\neffort = "fast"\nseed = 7\n'
    yield b'weights = "mixed"\nbudgets = {flash = "64KiB", "mean-weight-bits" = 3.5}\nmax_loss = 1.0\n'
    yield b'pipeline = ["fold-batch-norm", "calibrate{bins=64}", "integerize"]\ndata_free = true\n'
    yield b'granularity = "group=16"\nscales = "free"\nobserver = "mse"\nsymmetric_activations = false\nedges = 8\n'
    yield b'kernels = ["dsp"]\n[input_shapes]\nx = [1, 3, 32, 32]\n[input_ranges]\nx = [0, 255]\n'


def read_recipe(given: bytes) -> None:
    """Read a recipe, and make the pipeline that it asks for on two targets."""
    recipe = Recipe.read(_file(given, ".toml"))
    Recipe(weights=4).overridden(recipe)
    for name in ("onnxruntime", "cortex-m4"):
        target = load_target(name)
        recipe.limits(target)
        recipe.passes(recipe.applied(target))


RECIPE = FuzzTarget(recipes, read_recipe, text_of((*READERS, *WEIGHTS, "mixed", "flash", "KiB", "true", *PUNCTUATION)))


# Targets.


def targets() -> Iterator[bytes]:
    for backend in registry.names(registry.BACKENDS):
        for entry in (files(f"bitsmith.backends.{backend}") / "targets").iterdir():
            yield entry.read_bytes()
    yield b'backend = "c"\nflash = "64KiB"\nram = 2048\ncode = 0\n[cycles]\n"8x8" = 1.5\n[options]\nkernels = "dsp"\n'


def check_target(given: bytes) -> None:
    """Read a target, and ask its backend what it thinks of a small model."""
    target = read_target(_file(given, ".toml"))
    assert Target.from_json(json.loads(json.dumps(target.to_json()))) == target
    recipe = Recipe()
    recipe.limits(target)
    recipe.passes(recipe.applied(target))
    refusals(_small_module(target).graph, target, backend_of(target))


def _small_module(target: Target) -> Module:
    sketch = Sketch(x=("N", 2, 4, 4))
    hidden = sketch.add("Relu", sketch.add("Conv", "x", normal(3, 2, 3, 3)))
    model = sketch.model(sketch.add("Gemm", sketch.add("Flatten", hidden), normal(12, 2)))
    graph = load_graph(model)
    return Module(graph, target, Dataset.from_arrays({"x": normal(4, 2, 4, 4)}))


@cache
def _target_words() -> tuple[str, ...]:
    told = " ".join(json.dumps(target.to_json()) for target in installed_targets().targets.values())
    return tuple(sorted(set(re.findall(r"\w+", told))))


TARGET = FuzzTarget(
    targets, check_target, lambda given, random: text_of((*_target_words(), *PUNCTUATION))(given, random)
)


# Pipelines.


def pipelines() -> Iterator[bytes]:
    yield NORMALISE.encode()
    yield ADOPT.encode()
    for recipe in (Recipe(), Recipe(weights=4, activations=4), Recipe(weights="mixed", budgets={"flash": 1000})):
        yield str(recipe.passes(load_target("cortex-m4"))).encode()


def run_pipeline(given: bytes) -> None:
    """Read a pipeline, print it and read it again, and run it on a small model."""
    text = given.decode("utf-8", errors="replace")
    pipeline = Pipeline.parse(text)
    assert Pipeline.parse(str(pipeline)) == pipeline
    if not LONG.search(text) and len(pipeline.passes) <= LONGEST:
        pipeline.run(_small_module(load_target("cortex-m4")))


LONGEST = 40
"""Passes in a pipeline that is run."""


@cache
def _pass_words() -> tuple[str, ...]:
    from dataclasses import fields

    passes = [registry.find(registry.PASSES, name) for name in registry.names(registry.PASSES)]
    options = {option.name for one in passes for option in fields(one)}
    named = (
        "mse",
        "kl",
        "min-max",
        "auto",
        "channel",
        "tensor",
        "true",
        "false",
        "None",
        "0",
        "2",
        "8",
        "power-of-two",
    )
    return (*(f"{one.name}," for one in passes), *options, *named, *WEIGHTS, "{", "}", ",", "=")


PIPELINE = FuzzTarget(pipelines, run_pipeline, lambda given, random: text_of(_pass_words())(given, random))


# The command line, one argument a line.


def command_lines() -> Iterator[bytes]:
    compile_it = ["compile", "m.onnx", "--target", "onnxruntime", "-o", "out"]
    for more in (
        ["--calibration", "d.npz", "--weights", "4", "--activations", "8", "--edges", "8", "--seed", "3"],
        ["--budget", "flash=64KiB", "--budget", "bops=2.5G", "--budget", "mean-weight-bits=3.5", "--max-loss", "1.0"],
        ["--input-shape", "x=1,3,32,32", "--input-range", "x=-1,1e3", "--data-free", "--json", "--quiet"],
        ["--granularity", "group=16", "--scales", "free", "--observer", "kl", "--effort", "best", "--kernel", "a=dsp"],
        ["--pipeline", "integerize", "--no-explain", "--verify-each", "--dump-dir", "d"],
    ):
        yield "\n".join([*compile_it, *more]).encode()
    yield b"verify\nout\n--data\nd.npz\n--window\n640:128"
    yield b"search\nm.onnx\n--target\nhost\n--data\ne.npz\n--calibration\nd.npz\n-o\nfront"


def parse_arguments(given: bytes) -> None:
    """Read a command line; it may end well by asking for help."""
    arguments = given.decode("utf-8", errors="surrogateescape").split("\n")
    try:
        parse(arguments)
    except SystemExit as ended:
        if ended.code:
            raise


@cache
def _option_words() -> tuple[str, ...]:
    options = {text for command in build()[1].values() for text in command.options()}
    return (
        *sorted(options),
        *PUNCTUATION,
        "flash",
        "ram",
        "luts",
        "bops",
        "KiB",
        "M",
        "mixed",
        "1e9",
        "compile",
        "x=1,2",
    )


ARGUMENTS = FuzzTarget(command_lines, parse_arguments, lambda given, random: text_of(_option_words())(given, random))


# Allocations and sensitivities.


def allocations() -> Iterator[bytes]:
    allocation = Allocation({"w": 4, "v": 2}, {"x": 8})
    losses = {2: 0.5, 4: 0.25, 8: 0.0}
    sensitivity = Sensitivity("direct", {"w": losses, "v": losses}, {"x": losses}, {("w", 2, "v", 4): -0.125})
    for value in (
        allocation.to_json(),
        sensitivity.to_json(),
        {"format": "bitsmith artifact 1", "allocation": allocation.to_json(), "sensitivity": sensitivity.to_json()},
    ):
        yield json.dumps(value).encode()


def read_bits(given: bytes) -> None:
    """Read a file as an allocation or as a sensitivity: what is read must be written as it was."""
    path = _file(given, ".json")
    try:
        allocation = read_allocation(path)
        assert Allocation.from_json(json.loads(json.dumps(allocation.to_json()))) == allocation
    except PipelineError:
        sensitivity = read_sensitivity(path)
        assert Sensitivity.from_json(json.loads(json.dumps(sensitivity.to_json()))) == sensitivity


BITS = FuzzTarget(
    allocations, read_bits, json_of(("weights", "activations", "method", "interactions", "w", "v", "x", "2", "8", "16"))
)
