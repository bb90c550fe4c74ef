"""drop-constant-channels: fewer channels, and every output as it was, for every input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsmith.dataset import Dataset
from bitsmith.execution.batches import vectors
from bitsmith.execution.interpreter import run
from bitsmith.figures import macs
from bitsmith.importing.load import load_graph
from bitsmith.ir.formats import Format, IntegerArray, IntegerType
from bitsmith.ir.integer import Conv, IntegerGraph, Linear, Operation, Requantize, Value
from bitsmith.ir.validate import validate
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.passes.drop_constant_channels import DropConstantChannels
from bitsmith.passes.drop_constant_channels.choice import dropped_channels
from bitsmith.passes.drop_constant_channels.ranges import channel_ranges
from bitsmith.passes.drop_constant_channels.slicing import without
from bitsmith.pipelines import NORMALISE
from bitsmith.target import load_target
from tests.strategies import integer_graphs

KINDS = ("Conv", "Conv", "Conv", "Linear", "AveragePool", "MaxPool", "Table", "Reshape", "Add", "Concat")
RANGES = "quantize-activations{observer=min-max}"


def shrunk(graph: IntegerGraph) -> IntegerGraph:
    """As the pass does it, to the fixed point."""
    while dropped := dropped_channels(graph, ranges := channel_ranges(graph)):
        graph = without(graph, dropped, ranges)
    return graph


def total_macs(graph: IntegerGraph) -> int:
    return sum(macs(graph, operation) for operation in graph)


def samples(graph: IntegerGraph, seed: int) -> dict[str, IntegerArray]:
    """Both corners, the zero point, checkered corners, and random ones."""
    random = np.random.default_rng(seed)
    made = {}
    for name in graph.inputs:
        value = graph.values[name]
        kind = value.format.type
        shape = (4, *value.shape)
        corners = [np.full(value.shape, end) for end in (kind.lowest, kind.highest, value.format.zero_point)]
        extremes = random.choice([kind.lowest, kind.highest], shape)
        inside = random.integers(kind.lowest, kind.highest, shape, endpoint=True)
        made[name] = np.concatenate([np.stack(corners), extremes, inside]).astype(kind.storage)
    return made


def kill(operation: Operation, random: np.random.Generator) -> Operation:
    """The operation with some weights at 0, so that what its channels make depends on nothing."""
    if not isinstance(operation, Conv | Linear):
        return operation
    weight = operation.weight.copy()
    grid = operation.weight_format.grid
    if grid is None or grid.holds(np.zeros((len(weight), 1), np.int64)):
        weight[random.random(len(weight)) < 0.6] = 0
    return replace(operation, weight=weight)


@settings(max_examples=150)
@given(graph=integer_graphs(KINDS, most=7), seed=st.integers(0, 2**32 - 1))
def test_no_output_changes(graph: IntegerGraph, seed: int) -> None:
    random = np.random.default_rng(seed)
    graph = replace(graph, operations=tuple(kill(operation, random) for operation in graph))
    assert_same(graph, shrunk(graph), seed)


def assert_same(graph: IntegerGraph, small: IntegerGraph, seed: int = 0) -> None:
    validate(small)
    inputs = samples(graph, seed)
    expected, found = run(graph, inputs), run(small, inputs)
    for name in graph.outputs:
        np.testing.assert_array_equal(found[name], expected[name])
    assert total_macs(small) <= total_macs(graph)


def test_a_trained_network_loses_what_it_never_uses(model_file: Callable[[str], Path]) -> None:
    source, calibration, _ = (model_file(f"mobilenetv1_025_vww{end}") for end in (".onnx", ".calib.npz", ".eval.npz"))
    module = Module(load_graph(source), load_target("onnxruntime"), Dataset.open(calibration, {"x": (3, 96, 96)}))
    Pipeline.parse(f"{NORMALISE},calibrate,quantize-weights,{RANGES},quantize-biases,integerize").run(module)
    graph = module.require_integer()
    DropConstantChannels().run(module)
    small = module.require_integer()
    assert total_macs(small) < 0.6 * total_macs(graph)
    inputs = vectors(graph, 16, seed=0)
    np.testing.assert_array_equal(run(small, inputs)[graph.outputs[0]], run(graph, inputs)[graph.outputs[0]])


INT8 = Format(IntegerType(8), (1.0,))


def dense(name: str, x: str, weight: list[list[int]], bias: list[int], pads: int, lowest: int) -> Conv:
    """A Conv of one tap over one axis, into integers from `lowest`; multiplier 1/2."""
    rule = Requantize(np.array([1]), 1, 0, lowest, 127)
    taps = np.array(weight)[:, :, None]
    return Conv(name, (x,), f"{name}_y", taps, np.array(bias), INT8, (1,), (pads, pads), (1,), 1, rule)


def pair(lowest: int, pads: int) -> IntegerGraph:
    """Two Convs; channels 0 and 2 of the first are at `lowest` for every input."""
    shapes = {"x": (1, 4), "first_y": (3, 4), "second_y": (2, 4 + 2 * pads)}
    operations = (
        dense("first", "x", [[1], [1], [-1]], [-1000, 0, -1000], 0, lowest),
        dense("second", "first_y", [[5, 1, 7], [-3, 2, 1]], [10, 20], pads, -128),
    )
    values = {name: Value(name, shape, INT8) for name, shape in shapes.items()}
    return IntegerGraph("pair", values, ("x",), ("second_y",), operations)


@pytest.mark.parametrize(("lowest", "pads", "left"), [(0, 0, 1), (0, 1, 1), (3, 0, 1), (3, 1, 3)])
def test_a_constant_goes_into_the_bias_unless_padding_takes_its_place(lowest: int, pads: int, left: int) -> None:
    graph = pair(lowest, pads)
    small = shrunk(graph)
    assert small.values["first_y"].shape == (left, 4)
    second = small.operations[1]
    assert isinstance(second, Conv)
    assert second.bias.tolist() == ([10, 20] if left == 3 else [10 + 12 * lowest, 20 - 2 * lowest])
    assert_same(graph, small)


def test_an_output_keeps_its_channels() -> None:
    graph = replace(pair(0, 0), outputs=("first_y", "second_y"))
    assert shrunk(graph).values["first_y"].shape == (3, 4)
