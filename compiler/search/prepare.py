"""The integer program of a model: what a search knows before it measures. What bits cost the outputs is found once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from bitsmith.allocation.build import problem_for
from bitsmith.allocation.costs import Layout
from bitsmith.allocation.files import read_sensitivity
from bitsmith.allocation.problem import Problem
from bitsmith.callbacks import Gate
from bitsmith.data_free import ranges_of, require_one_source
from bitsmith.dataset import Dataset
from bitsmith.errors import PipelineError
from bitsmith.importing.load import load_graph
from bitsmith.ir.sensitivity import Sensitivity
from bitsmith.legality import backend_of, require_legal
from bitsmith.manager import Pipeline
from bitsmith.manifest import write_whole
from bitsmith.module import Module
from bitsmith.progress import Progress
from bitsmith.recipe import Recipe
from bitsmith.target import Target

SENSITIVITY = "sensitivity.json"

BOUNDLESS = 10**15
"""A budget that nothing exceeds, for a recipe that must name one."""

NEED_NORMAL_FORM = "calibrate"
CHOOSES = "allocate-bits"


def prepare(
    model: Path, calibration: Path | None, target: Target, recipe: Recipe, cost: str, folder: Path, progress: Progress
) -> Problem:
    """The problem without limits, of a recipe in which weights, activations or both are mixed.

    The passes run up to where bits would be chosen. What the sensitivities were found to be stands in `folder` and is
    taken from there the next time.
    """
    known = recipe.sensitivity or _kept(folder)
    pipeline = replace(recipe, budgets={cost: BOUNDLESS}, sensitivity=known).passes(target)
    require_one_source(pipeline, recipe, given=calibration is not None)
    graph = load_graph(model, recipe.input_shapes)
    samples = {value.name: value.sample_shape for value in graph.inputs}
    module = Module(
        graph,
        target,
        None if calibration is None else Dataset.open(calibration, samples),
        recipe.seed or 0,
        progress,
        input_ranges=ranges_of(graph, recipe.input_ranges),
        sensitivity=known,
    )
    names = [one.name for one in pipeline.passes]
    first = Pipeline(pipeline.passes[: names.index(CHOOSES)])
    first.run(
        module, [Gate(names.index(NEED_NORMAL_FORM), lambda step: require_legal(graph, target, backend_of(target)))]
    )
    if module.sensitivity is None:
        raise PipelineError("no pass measured what bits cost the outputs", fix="Give --sensitivity.")
    if known is None:
        write_whole(folder / SENSITIVITY, json.dumps(module.sensitivity.to_json(), indent=1) + "\n")
    return problem_for(module, {}, _layout(recipe, target), edges=recipe.edges or 0)


def _kept(folder: Path) -> Sensitivity | None:
    path = folder / SENSITIVITY
    return read_sensitivity(path) if path.exists() else None


def _layout(recipe: Recipe, target: Target) -> Layout:
    kind, _, size = (recipe.granularity or target.granularities[0]).partition("=")
    return Layout("channel", int(size)) if kind == "group" else Layout(kind)
