"""Predicted flash and RAM of a backend that stores things its own way, held to what it says of the integer graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bitsmith.allocation.build import problem_for, problem_of
from bitsmith.allocation.costs import Layout
from bitsmith.allocation.measured import costs_of_integers
from bitsmith.allocation.reference import as_told
from bitsmith.dataset import Dataset
from bitsmith.importing.load import load_graph
from bitsmith.legality import backend_of
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target, load_target
from tests.compiler.allocation.made_up import BOARD, integers, random_bits, sensitivity_of
from tests.sketch import normal

BOARD_IN_C = replace(load_target("cortex-m4"), activation_bits=(8, 6, 4), code=500)


def calibrated(path: Path, target: Target) -> Module:
    graph = load_graph(path)
    data = Dataset.from_arrays({value.name: normal(4, *value.sample_shape) for value in graph.inputs})
    module = Module(graph, target, data)
    Pipeline.parse(f"{NORMALISE},calibrate").run(module)
    module.sensitivity = sensitivity_of(graph)
    return module


def assert_predicted(path: Path, layout: Layout, weights: str, seed: int) -> None:
    module = calibrated(path, BOARD_IN_C)
    problem = problem_for(module, {}, layout)
    bits = random_bits(problem.groups, seed)
    graph = integers(module.graph, BOARD_IN_C, problem.allocation(bits), weights)
    measured = costs_of_integers(graph, BOARD_IN_C, backend_of(BOARD_IN_C))
    predicted = problem.costs_at(bits)
    assert predicted["flash"] == measured["flash"]
    # Gaps in the plan of memory are not known before it is made.
    assert predicted["ram"] <= measured["ram"]
    exact = as_told(problem, module, layout, backend_of(BOARD_IN_C), bits).costs_at(bits)
    assert {name: exact[name] for name in ("flash", "ram")} == {name: measured[name] for name in ("flash", "ram")}


@pytest.mark.parametrize(("layout", "weights"), [(Layout(), ""), (Layout("tensor"), "granularity=tensor")])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sizes_are_those_of_the_generated_c(digits: Path, layout: Layout, weights: str, seed: int) -> None:
    assert_predicted(digits / "digits.onnx", layout, weights, seed)


def test_code_is_foretold_of_each_mixture(digits: Path) -> None:
    target = replace(load_target("cortex-m4"), code={"conv": 100.0, "sum": 3.0, "instruction": 4.0, "model": 50.0})
    module = calibrated(digits / "digits.onnx", target)
    problem = problem_for(module, {}, Layout())
    for weights in {group.widths for group in problem.groups if group.is_weight}:
        for bits in weights:
            even = {one.name: bits if one.is_weight else one.widths[-1] for one in problem.groups}
            graph = integers(module.graph, target, problem.allocation(even), "")
            measured = costs_of_integers(graph, target, backend_of(target))
            predicted = problem.costs_at(even)
            # Of functions that have one caller less is known before, and constants may differ in how they are written.
            assert measured["code"] == pytest.approx(predicted["code"], rel=0.05)
            assert predicted["flash"] - predicted["code"] == measured["flash"] - measured["code"]
    mixed = random_bits(problem.groups, 0)
    exact = as_told(problem, module, Layout(), backend_of(target), mixed).costs_at(mixed)
    graph = integers(module.graph, target, problem.allocation(mixed), "")
    measured = costs_of_integers(graph, target, backend_of(target))
    assert {name: exact[name] for name in ("flash", "code")} == {name: measured[name] for name in ("flash", "code")}
    # Two widths ask for functions of both.
    assert exact["code"] > 0
    assert problem.costs["code"].rows[0].once


@pytest.mark.parametrize("name", ["resnet8_cifar10", "dscnn_kws"])
def test_sizes_of_real_models_are_those_of_the_generated_c(model_file: Callable[[str], Path], name: str) -> None:
    assert_predicted(model_file(f"{name}.onnx"), Layout(), "", 0)


def test_a_backend_without_a_say_leaves_the_problem_as_it_is(digits: Path) -> None:
    module = calibrated(digits / "digits.onnx", BOARD)
    plain = problem_of(module.graph, BOARD, module.require_sensitivity(), {})
    assert problem_for(module, {}, Layout()) == plain


def test_asking_changes_nothing(digits: Path) -> None:
    module = calibrated(digits / "digits.onnx", BOARD_IN_C)
    before = module.graph.to_onnx().SerializeToString(deterministic=True)
    problem_for(module, {}, Layout())
    assert module.graph.to_onnx().SerializeToString(deterministic=True) == before
    assert (module.allocation, module.integer) == (None, None)
    assert not list(module.plan)
