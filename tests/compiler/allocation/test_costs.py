"""Predicted costs of a float graph, held to those of the integer graph that it becomes, and to arithmetic by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitsmith.allocation.build import problem_of
from bitsmith.allocation.costs import Layout, table_bytes
from bitsmith.allocation.measured import costs_of_integers
from bitsmith.allocation.problem import Problem
from bitsmith.figures import other_bytes
from bitsmith.importing.load import load_graph
from bitsmith.ir.fusion import caps_of
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph, InterpolatedTable, Table
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.compiler.allocation.made_up import BOARD, integers, random_bits, sensitivity_of
from tests.integration.onnx_cases import CASES
from tests.sketch import Sketch, normal

WIDE = replace(BOARD, activation_bits=(*BOARD.activation_bits, 12, 16))
CYCLES = {f"{w}x{a}": 1.0 + w / 8 + a / 16 for w in BOARD.weight_widths for a in WIDE.activation_bits}
TARGET = replace(WIDE, cycles=CYCLES, code=1234)


def normalised(model: Path | onnx.ModelProto) -> Graph:
    graph = load_graph(model)
    Pipeline.parse(NORMALISE).run(Module(graph, BOARD))
    return graph


def estimated(graph: IntegerGraph) -> int:
    """Bytes by which estimates of tables exceed what they are: of those with inputs of more than 8 bits, and none else.

    Of Table and InterpolatedTable alike: which of them it will be is not known before scales are.
    """
    more = 0
    for operation in graph:
        if isinstance(operation, Table | InterpolatedTable):
            rows = len(operation.entries if isinstance(operation, Table) else operation.knots)
            (x,), y = graph.operands(operation), graph.result(operation)
            excess = table_bytes(rows, x.format.bits, y.format.bits) - other_bytes(operation)
            assert excess == 0 or (excess > 0 and x.format.bits > 8)
            more += excess
    return more


def assert_equal_costs(
    graph: Graph, problem: Problem, target: Target, bits: dict[str, float], weights: str = ""
) -> dict[str, float]:
    """Predicted costs with these widths are those of the integer graph; to the byte, though floats may add up apart.

    Of tables of wide inputs flash has what is estimated, which is no less than what they take.
    """
    made = integers(graph, target, problem.allocation(bits), weights)
    measured = costs_of_integers(made, target)
    measured["flash"] += estimated(made)
    predicted = problem.costs_at(bits)
    assert {name: predicted[name] for name in measured} == pytest.approx(measured, rel=1e-13)
    return measured


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_every_op_costs_what_was_predicted(name: str, data: st.DataObject) -> None:
    graph = normalised(data.draw(CASES[name]).model)
    # Products of wider values do not fit an accumulator.
    edges = data.draw(st.sampled_from((2, 4, 8, 12)))
    # A bound per channel that turns out to bind nothing is left out of the integer graph; it is predicted all the same.
    caps = [found.size for node in graph.nodes() if (found := caps_of(node)) is not None]
    problem = problem_of(graph, TARGET, sensitivity_of(graph), {}, edges=edges)
    bits = random_bits(problem.groups, data.draw(st.integers(0, 100)))
    if not caps:
        assert_equal_costs(graph, problem, TARGET, bits)
        return
    made = integers(graph, TARGET, problem.allocation(bits))
    measured = costs_of_integers(made, TARGET)
    measured["flash"] += estimated(made)
    assert problem.costs["flash"].at(bits) - measured["flash"] in (0, sum(caps))
    assert problem.costs["ram"].at(bits) == measured["ram"]


@pytest.mark.parametrize(
    ("layout", "weights"),
    [
        (Layout(), ""),
        (Layout("tensor"), "granularity=tensor"),
        (Layout("channel", 5), "granularity=channel,group=5"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_weights_cost_what_their_storage_says(layout: Layout, weights: str, seed: int) -> None:
    graph = normalised(skip_connection())
    problem = problem_of(graph, TARGET, sensitivity_of(graph), {}, layout=layout)
    bits = random_bits(problem.groups, seed)
    assert_equal_costs(graph, problem, TARGET, bits, weights)
    two = {group.name: 2 if group.is_weight else bits[group.name] for group in problem.groups}
    assert_equal_costs(graph, problem, TARGET, two, weights)


@pytest.mark.parametrize("passes", ["bits=4", "format=ternary,bits=2", "format=codebook,bits=4", "bits=2"])
def test_settled_weights_cost_what_their_formats_say(passes: str) -> None:
    graph = normalised(skip_connection())
    module = Module(graph, replace(TARGET, weight_formats=("int", "ternary", "codebook")))
    Pipeline.parse(f"quantize-weights{{{passes}}}").run(module)
    problem = problem_of(graph, TARGET, sensitivity_of(graph), {}, plan=module.plan)
    assert_equal_costs(graph, problem, TARGET, random_bits(problem.groups, 0), passes)


def skip_connection() -> onnx.ModelProto:
    """A pointwise and a depthwise convolution, a skip around them, an average with uneven windows, a table."""
    sketch = Sketch(x=("N", 6, 5, 5))
    wide = sketch.add("Clip", sketch.add("Conv", "x", normal(12, 6, 1, 1), normal(12)), 0.0, 6.0)
    deep = sketch.add("Conv", wide, normal(12, 1, 3, 3), normal(12), group=12, pads=[1, 1, 1, 1])
    back = sketch.add("Conv", sketch.add("HardSwish", deep), normal(6, 12, 1, 1), normal(6))
    both = sketch.add("Add", "x", back)
    mean = sketch.add("AveragePool", both, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
    joined = sketch.add("Concat", mean, sketch.add("MaxPool", both, kernel_shape=[1, 1], strides=[2, 2]), axis=1)
    flat = sketch.add("Flatten", joined)
    return sketch.model(sketch.add("Softmax", sketch.add("Gemm", flat, normal(4, 108), normal(4), transB=1)))


def test_costs_by_hand() -> None:
    """x (6, 5, 5) -> 3x3 convolution, 7 channels -> relu -> flatten -> 10 scores."""
    sketch = Sketch(x=("N", 6, 5, 5))
    conv = sketch.add("Relu", sketch.add("Conv", "x", sketch.hold(normal(7, 6, 3, 3), "w"), pads=[1, 1, 1, 1]))
    sketch.add("Gemm", sketch.add("Flatten", conv), sketch.hold(normal(10, 175), "v"), transB=1)
    graph = normalised(sketch.model(sketch.nodes[-1].output[0]))
    problem = problem_of(graph, TARGET, sensitivity_of(graph), {})
    first, last = graph.inputs[0].name, graph.outputs[0].name
    (middle,) = (group.name for group in problem.groups if len(group.members) == 2)
    costs = problem.costs_at({"w": 3, "v": 2, first: 8, middle: 5, last: 8})
    weights = math.ceil(7 * 54 * 3 / 8) + math.ceil(1750 * 2 / 8) + math.ceil(10 / 8)
    assert costs["flash"] == 1234 + weights + 2 * 4 * (7 + 10)
    assert costs["ram"] == 150 + math.ceil(175 * 5 / 8)
    assert costs["bops"] == 25 * 7 * 54 * 3 * 8 + 1750 * 2 * 5
    assert costs["cycles"] == 25 * 7 * 54 * CYCLES["3x8"] + 1750 * CYCLES["2x5"]
    assert costs["mean-weight-bits"] == pytest.approx((7 * 54 * 3 + 1750 * 2) / (7 * 54 + 1750))
    assert costs["mean-activation-bits"] == pytest.approx((150 * 8 + 350 * 5 + 10 * 8) / 510)


def test_activations_that_are_held_in_bytes_cost_bytes() -> None:
    graph = normalised(skip_connection())
    target = replace(TARGET, activation_storage=(8, 16))
    problem = problem_of(graph, target, sensitivity_of(graph), {})
    few, many = ({g.name: g.widths[end] for g in problem.groups} for end in (0, -1))
    narrow = {**many, **{g.name: few[g.name] for g in problem.groups if not g.is_weight and g.widths[-1] <= 8}}
    assert problem.costs["ram"].at(narrow) == problem.costs["ram"].at({**narrow, **few})
    assert_equal_costs(graph, problem, target, few)


def test_pairs_that_the_table_of_cycles_lacks_are_vetoed() -> None:
    graph = normalised(skip_connection())
    target = replace(TARGET, cycles={"8x8": 1.0, "4x8": 1.5, "4x4": 2.0, "8x5": 3.0})
    problem = problem_of(graph, target, sensitivity_of(graph), {})
    assert problem.vetoes
    for (weight, read), pairs in problem.vetoes.items():
        widths = {group.name: group.widths for group in problem.groups}
        every = {(b, c) for b in widths[weight] for c in widths[read]}
        assert every - pairs == {(8, 8), (4, 8), (4, 4), (8, 5)} & every


@pytest.mark.parametrize(
    "name", ["resnet8_cifar10", "dscnn_kws", "mobilenetv1_025_vww", "mobilenetv2s_cifar10", "autoencoder_ad_tfl"]
)
def test_real_models_cost_what_was_predicted(model_file: Callable[[str], Path], name: str) -> None:
    graph = normalised(model_file(f"{name}.onnx"))
    problem = problem_of(graph, TARGET, sensitivity_of(graph), {})
    measured = assert_equal_costs(graph, problem, TARGET, random_bits(problem.groups, 0))
    assert measured["flash"] > 10_000
