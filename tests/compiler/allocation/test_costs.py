"""Predicted costs of a float graph, held to those of the integer graph that it becomes, and to arithmetic by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bitsmith.allocation.build import problem_of
from bitsmith.allocation.measured import costs_of_integers
from bitsmith.importing.load import load_graph
from bitsmith.ir.graph import Graph
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from tests.compiler.allocation.made_up import BOARD, integers, random_bits, sensitivity_of


def normalised(path: Path) -> Graph:
    graph = load_graph(path)
    Pipeline.parse(NORMALISE).run(Module(graph, BOARD))
    return graph


def test_predicted_costs_are_those_of_the_integer_graph(model_file: Callable[[str], Path]) -> None:
    graph = normalised(model_file("resnet8_cifar10.onnx"))
    problem = problem_of(graph, BOARD, sensitivity_of(graph), {})
    for seed in range(3):
        bits = random_bits(problem.groups, seed)
        measured = costs_of_integers(integers(graph, BOARD, problem.allocation(bits)), BOARD)
        predicted = problem.costs_at(bits)
        assert {name: predicted[name] for name in measured} == pytest.approx(measured, rel=1e-13)
