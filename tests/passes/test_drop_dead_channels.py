"""drop-dead-channels: a smaller float graph that computes the same wherever calibration looked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsmith.dataset import Dataset
from bitsmith.execution.network import layers_of, macs_of
from bitsmith.execution.observe import observe
from bitsmith.importing.load import load_graph
from bitsmith.ir.blocks import blocks
from bitsmith.ir.graph import Graph
from bitsmith.ir.linear import linear_nodes
from bitsmith.manager import Changes, Pipeline
from bitsmith.module import Module
from bitsmith.passes.drop_dead_channels import DropDeadChannels, ranges
from bitsmith.passes.drop_dead_channels.ranges import channel_ranges
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.sketch import Array, Sketch, assert_same, normal, random_inputs

AFTER = ("none", "Relu", "ReLU6", "MaxPool", "AveragePool")


def calibrated(model: onnx.ModelProto | Path, samples: dict[str, Array] | None = None, passes: str = "") -> Module:
    """The model in normal form, calibrated on the inputs that `assert_same` runs, or on other samples."""
    graph = load_graph(model)
    module = Module(graph, Target(name="test", backend="test"), Dataset.from_arrays(samples or random_inputs(graph)))
    Pipeline.parse(f"{NORMALISE}{passes},calibrate{{grams=true}}").run(module)
    return module


def dropped(model: onnx.ModelProto) -> tuple[Module, Changes]:
    """The module after the pass, which must have kept what the model computes."""
    module = calibrated(model)
    changes = DropDeadChannels().run(module)
    assert_same(model, module.graph)
    return module, changes


def channels(graph: Graph) -> list[int]:
    """How many each linear layer makes."""
    return [len(node.array(1)) for node in linear_nodes(graph)]


def silenced(weight: Array, dead: Array) -> Array:
    """The weight with rows that have decayed as training leaves them: to next to nothing, rather than to nothing."""
    return np.where(dead.reshape(-1, *[1] * (weight.ndim - 1)), weight * np.float32(1e-30), weight)


def separable(
    dead: list[bool], bias: Array, depthwise_bias: Array, after: str = "Relu", pad: int = 0
) -> onnx.ModelProto:
    """A pointwise layer, a depthwise one and a pointwise one, pooled and classified."""
    sketch = Sketch(x=("N", 3, 5, 5))
    count = len(dead)
    y = sketch.add("Conv", "x", silenced(normal(count, 3, 1, 1), np.array(dead)), bias)
    y = activated(sketch, after, y)
    y = sketch.add("Conv", y, normal(count, 1, 3, 3, seed=2), depthwise_bias, group=count, pads=[1] * 4)
    y = sketch.add("Relu", y)
    y = sketch.add(
        "Conv", y, normal(6, count, 1 + 2 * pad, 1 + 2 * pad, seed=3), np.full(6, 9, np.float32), pads=[pad] * 4
    )
    y = sketch.add("Flatten", sketch.add("Relu", y))
    return sketch.model(sketch.add("Gemm", y, normal(2, 150, seed=5), normal(2, seed=6), transB=1))


def activated(sketch: Sketch, op: str, x: str) -> str:
    match op:
        case "none":
            return x
        case "ReLU6":
            return str(sketch.add("Clip", x, np.float32(0), np.float32(6)))
        case "MaxPool" | "AveragePool":
            x = str(sketch.add("Relu", x))
            return str(sketch.add(op, x, kernel_shape=[3, 3], pads=[1] * 4))
        case _:
            return str(sketch.add(op, x))


def test_a_relu_that_never_opens_goes_with_what_a_depthwise_layer_makes_of_it() -> None:
    below = np.full(4, -0.5, np.float32)
    module, changes = dropped(separable([True, False, True, False], below, below))
    assert channels(module.graph) == [2, 2, 6, 2]
    assert [node.attribute("group", 1) for node in linear_nodes(module.graph)][1] == 2
    assert changes.notes == ["4 channels are the same for every input"]


def test_a_constant_that_is_not_zero_goes_into_the_bias_of_the_next_layer() -> None:
    model = separable([True, False, False], np.full(3, -1, np.float32), np.array([2, 0.5, 0.5], np.float32))
    module, _ = dropped(model)
    assert channels(module.graph) == [2, 2, 6, 2]
    graph = load_graph(model)
    before, after = (linear_nodes(one)[2] for one in (graph, module.graph))
    # Relu(0 + 2) at every position, times one weight to each output.
    np.testing.assert_allclose(after.array(2), before.array(2) + 2 * before.array(1)[:, 0, 0, 0], rtol=1e-6)


def test_a_constant_that_padding_cannot_stand_in_for_stays() -> None:
    model = separable([True, False, False], np.full(3, -1, np.float32), np.array([2, 0.5, 0.5], np.float32), pad=1)
    module, changes = dropped(model)
    assert channels(module.graph) == [3, 3, 6, 2]
    assert not changes.made


def test_what_only_happened_to_be_silent_stays() -> None:
    """Zero on all samples, but not proved: other inputs within the same range would open it."""
    sketch = Sketch(x=("N", 2, 1, 1))
    y = sketch.add("Relu", sketch.add("Conv", "x", np.array([[1, -1], [1, 1]], np.float32).reshape(2, 2, 1, 1)))
    model = sketch.model(sketch.add("Conv", y, normal(2, 2, 1, 1)))
    samples = {"x": np.array([[0, 1], [1, 1], [0.5, 0.6]], np.float32).reshape(3, 2, 1, 1)}
    module = calibrated(model, samples)
    assert not module.require_statistics().of(linear_nodes(module.graph)[1].operand(0).name).channel_mean[0]
    assert not DropDeadChannels().run(module).made


def test_one_channel_stays_where_all_are_dead() -> None:
    below = np.full(3, -0.5, np.float32)
    module, _ = dropped(separable([True] * 3, below, below))
    # What the third layer makes of nothing but zeros is its bias, all over.
    assert channels(module.graph) == [1, 1, 1, 2]


def test_channels_that_an_addition_or_an_output_needs_stay() -> None:
    sketch = Sketch(x=("N", 3, 2, 2))
    weight = silenced(normal(4, 3, 1, 1), np.array([True, False, True, False]))
    y = sketch.add("Relu", sketch.add("Conv", "x", weight, np.full(4, -0.5, np.float32)))
    z = sketch.add("Conv", "x", normal(4, 3, 1, 1, seed=7), normal(4))
    module, changes = dropped(sketch.model(sketch.add("Add", y, z)))
    assert channels(module.graph) == [4, 4]
    assert not changes.made


def test_nothing_is_proved_by_ranges_that_no_one_saw() -> None:
    below = np.full(3, -0.5, np.float32)
    module = calibrated(separable([True, False, False], below, below))
    module.made_up = "distilled"
    assert not DropDeadChannels().run(module).made
    assert channels(module.graph)[0] == 3


@settings(max_examples=15)
@given(data=st.data())
def test_what_is_computed_stays_and_statistics_are_of_what_is_left(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    dead = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    sign = data.draw(st.lists(st.sampled_from([-0.5, 0.0, 0.5]), min_size=2 * count, max_size=2 * count))
    bias = np.array(sign, np.float32)
    model = separable(dead, bias[:count], bias[count:], data.draw(st.sampled_from(AFTER)), data.draw(st.integers(0, 1)))
    module, _ = dropped(model)
    statistics = module.require_statistics()
    inputs = random_inputs(module.graph)
    again = observe(module.graph, Dataset.from_arrays(inputs), batch_size=8, bins=2048, grams=True)
    for name, seen in again.values.items():
        np.testing.assert_allclose(statistics.of(name).channel_mean, seen.channel_mean, rtol=1e-5, atol=1e-5)
    for name, gram in again.grams.items():
        scale = 1e-5 * max(1.0, float(np.abs(gram.matrix).max()))
        np.testing.assert_allclose(statistics.grams[name].matrix, gram.matrix, rtol=1e-5, atol=scale)
        np.testing.assert_allclose(statistics.grams[name].mean, gram.mean, rtol=1e-5, atol=scale)


def test_histograms_lose_what_the_channels_had() -> None:
    below = np.full(4, -0.5, np.float32)
    module, _ = dropped(separable([True, False, True, False], below, below))
    inputs = random_inputs(module.graph)
    again = observe(module.graph, Dataset.from_arrays(inputs), batch_size=8, bins=2048)
    for name, seen in again.values.items():
        found, wanted = module.require_statistics().of(name).require_histogram(), seen.require_histogram()
        assert (found.lowest, found.highest) == (wanted.lowest, wanted.highest)
        np.testing.assert_array_equal(found.counts, wanted.counts)


def test_caps_and_clips_of_what_is_left_stay(model_file: Callable[[str], Path]) -> None:
    """Of the detector of persons most channels are dead; equalized, each has a cap of its own."""
    with np.load(model_file("mobilenetv1_025_vww.calib.npz")) as held:
        samples = {"x": held["x"][:8]}
    model = onnx.load(model_file("mobilenetv1_025_vww.onnx"))
    module = calibrated(model_file("mobilenetv1_025_vww.onnx"), samples, ",equalize")
    before = macs_of(layers_of(module.graph))
    DropDeadChannels().run(module)
    assert before == 7_489_664
    assert macs_of(layers_of(module.graph)) < 0.55 * before
    assert_same(model, module.graph, tolerance=1e-4)


def test_ranges_are_what_they_are_however_few_outputs_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    module = calibrated(separable([True, False, False], normal(3), normal(3), pad=1))
    together = channel_ranges(module.graph, module.require_statistics())
    monkeypatch.setattr(ranges, "blocks", lambda rows, elements: blocks(rows, elements, 1))
    apart = channel_ranges(module.graph, module.require_statistics())
    assert together.keys() == apart.keys()
    for value, whole in together.items():
        np.testing.assert_array_equal(apart[value].lowest, whole.lowest)
        np.testing.assert_array_equal(apart[value].highest, whole.highest)
