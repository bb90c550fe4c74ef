"""absorb-biases: the same function on what was seen, with smaller activations."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsmith.dataset import Dataset
from bitsmith.errors import PipelineError
from bitsmith.execution.channels import channel_statistics
from bitsmith.importing.load import load_graph
from bitsmith.ir.formats import IntegerType, Plan, symmetric
from bitsmith.ir.graph import Graph
from bitsmith.manager import Changes, Pipeline, Step
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.sketch import Array, Sketch, normal, run

BIAS = np.array([20, 0, 9, -20], np.float32)
"""Of four channels: one far above 0, one about it, one above it where the data is, one far below."""

BETWEEN = ["none", "MaxPool", "AveragePool", "padded AveragePool", "GlobalAveragePool"]


def absorbed(model: onnx.ModelProto, x: Array, passes: str = "absorb-biases") -> tuple[Graph, Changes]:
    module, every = Module(load_graph(model), Target("test", "none"), Dataset.from_arrays({"x": x})), Changes()

    def collect(step: Step) -> None:
        every.made.extend(step.changes.made)
        every.refused.extend(step.changes.refused)

    Pipeline.parse(NORMALISE).run(module)
    Pipeline.parse(passes).run(module, [collect])
    return module.graph, every


def activated(sketch: Sketch, x: str, activation: str) -> str:
    if activation == "Relu":
        return str(sketch.add("Relu", x))
    if activation == "ReLU6":
        return str(sketch.add("Clip", x, np.float32(0), np.float32(6)))
    return str(sketch.add("Min", sketch.add("Relu", x), np.array([21, 3, 4, 1], np.float32).reshape(1, 4, 1, 1)))


def pair(activation: str, between: str = "none", flatten: bool = False) -> onnx.ModelProto:
    sketch = Sketch(x=("N", 3, 6, 6))
    y = activated(sketch, sketch.add("Conv", "x", normal(4, 3, 1, 1) / 2, BIAS), activation)
    side = 6
    if between != "none":
        attributes: dict[str, Any] = {} if between.startswith("Global") else {"kernel_shape": [2, 2], "strides": [2, 2]}
        side = 1 if between.startswith("Global") else 3
        if between.startswith("padded"):
            attributes |= {"pads": [1, 1, 1, 1]}
            side = 4
        y = sketch.add(between.split(" ")[-1], y, **attributes)
    if flatten:
        features = 4 * side * side
        return sketch.model(sketch.add("Gemm", sketch.add("Flatten", y), normal(5, features), normal(5), transB=1))
    return sketch.model(sketch.add("Conv", y, normal(5, 4, 1, 1), normal(5)))


@settings(max_examples=25)
@given(st.sampled_from(["Relu", "ReLU6", "caps"]), st.sampled_from(BETWEEN), st.booleans())
def test_the_function_is_kept_on_what_was_seen(activation: str, between: str, flatten: bool) -> None:
    model, x = pair(activation, between, flatten), normal(40, 3, 6, 6)
    graph, changes = absorbed(model, x)
    (made,) = changes.made
    assert "2 of 4 channels" in made
    wanted, found = run(model, x=x)[0], run(graph.to_onnx(), x=x)[0]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * float(np.abs(wanted).max()))


def test_no_more_is_taken_than_three_deviations_below_the_mean_nor_near_the_least_seen() -> None:
    model, x = pair("Relu"), normal(40, 3, 6, 6)
    before = load_graph(model)
    value = before.nodes("Conv")[0].output
    seen = channel_statistics(before, [value], Dataset.from_arrays({"x": x}))[value]
    exact = run(_with_output(model, value.name), x=x)[-1].astype(np.float64)
    np.testing.assert_allclose(seen.mean, exact.mean(axis=(0, 2, 3)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(seen.deviation, exact.std(axis=(0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(seen.minimum, exact.min(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(seen.maximum, exact.max(axis=(0, 2, 3)), rtol=1e-5)
    for deviations in (3.0, 1.0, 30.0):
        graph, _ = absorbed(model, x, f"absorb-biases{{deviations={deviations}}}")
        bias = graph.nodes("Conv")[0].constant(2)
        assert bias is not None
        expected = np.minimum(seen.mean - deviations * seen.deviation, seen.minimum - seen.deviation)
        np.testing.assert_allclose(BIAS - bias, np.maximum(expected, 0), rtol=1e-4, atol=1e-5)


def _with_output(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.append(onnx.ValueInfoProto(name=name))
    return shown


def test_a_cap_moves_with_its_channel() -> None:
    graph, _ = absorbed(pair("caps"), normal(40, 3, 6, 6))
    bias, caps = graph.nodes("Conv")[0].constant(2), graph.nodes("Min")[0].constant(1)
    assert bias is not None
    assert caps is not None
    np.testing.assert_allclose(caps.ravel() + (BIAS - bias), [21, 3, 4, 1], rtol=1e-6)


def test_biases_that_are_left_out_are_made() -> None:
    sketch = Sketch(x=("N", 1, 1, 1))
    y = sketch.add("Relu", sketch.add("Conv", "x", np.ones((2, 1, 1, 1), np.float32)))
    model = sketch.model(sketch.add("Conv", y, normal(3, 2, 1, 1)))
    x = np.random.default_rng(0).uniform(9, 10, (20, 1, 1, 1)).astype(np.float32)
    graph, changes = absorbed(model, x)
    assert len(changes.made) == 1
    np.testing.assert_allclose(run(graph.to_onnx(), x=x)[0], run(model, x=x)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("padded reader", "pads with zeros"),
        ("counted padding", "is not known to commute with a shift"),
        ("no activation", "no Relu stands between"),
        ("shared", "is used elsewhere too"),
        ("output", "is an output of the graph"),
        ("low", "no channel always stays above 0"),
    ],
)
def test_refused(case: str, why: str) -> None:
    sketch = Sketch(x=("N", 3, 6, 6))
    y = sketch.add("Conv", "x", normal(4, 3, 1, 1), BIAS - (30 if case == "low" else 0))
    z = y if case == "no activation" else sketch.add("Relu", y)
    if case == "counted padding":
        z = sketch.add("AveragePool", z, kernel_shape=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    pads = [1, 1, 1, 1] if case == "padded reader" else [0, 0, 0, 0]
    out = sketch.add("Conv", z, normal(4, 4, 1, 1), normal(4), pads=pads)
    out = sketch.add("Add", out, z) if case == "shared" else out
    model, x = sketch.model(out, *([z] if case == "output" else [])), normal(8, 3, 6, 6)
    graph, changes = absorbed(model, x)
    assert changes.made == []
    assert why in dict(changes.refused)["Conv conv0"]
    for wanted, found in zip(run(model, x=x), run(graph.to_onnx(), x=x), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


def test_mistakes_are_named() -> None:
    with pytest.raises(PipelineError, match="deviations=-1"):
        absorbed(pair("Relu"), normal(4, 3, 6, 6), "absorb-biases{deviations=-1.0}")
    module = Module(load_graph(pair("Relu")), Target("test", "none"), Dataset.from_arrays({"x": normal(4, 3, 6, 6)}))
    module.plan = Plan({"w": symmetric(1.0, IntegerType(8))})
    with pytest.raises(PipelineError, match="before the passes that quantize"):
        Pipeline.parse("absorb-biases").run(module)
    module = Module(load_graph(pair("Relu")), Target("test", "none"))
    with pytest.raises(PipelineError, match="calibration data"):
        Pipeline.parse("absorb-biases").run(module)
