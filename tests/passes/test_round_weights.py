"""The pass: weights land on their grid, biases take the mean of the error, and outputs move less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from bitsmith.dataset import Dataset
from bitsmith.errors import PipelineError
from bitsmith.execution.interpreter import run as run_integer
from bitsmith.importing.load import load_graph
from bitsmith.ir.integer import Conv, Linear
from bitsmith.ir.linear import LINEAR, weight_value
from bitsmith.manager import Changes, Pipeline, Step
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.sketch import Sketch, normal, run

TARGET = Target("test", "none", weight_bits=(4, 8))
BEFORE = f"{NORMALISE},calibrate{{grams=true}},quantize-weights{{bits=4}}"
AFTER = "quantize-activations{observer=mse},quantize-biases,integerize"


def small() -> tuple[onnx.ModelProto, np.ndarray[Any, Any]]:
    """A convolution, a grouped one and a MatMul without a bias; inputs are correlated and far from zero mean."""
    sketch = Sketch(x=("N", 4, 6, 6))
    first = sketch.add("Conv", "x", normal(8, 4, 3, 3), normal(8, seed=1), pads=[1, 1, 1, 1])
    grouped = sketch.add("Conv", sketch.add("Relu", first), normal(6, 4, 3, 3, seed=2), normal(6, seed=3), group=2)
    pooled = sketch.add("Flatten", sketch.add("GlobalAveragePool", sketch.add("Relu", grouped)))
    x = normal(32, 4, 6, 6, seed=4).cumsum(axis=3) + 1
    return sketch.model(sketch.add("MatMul", pooled, normal(6, 5, seed=5))), x.astype(np.float32)


def after(pipeline: str) -> tuple[Module, Changes]:
    """The small model after `pipeline`, and what its last pass changed."""
    model, x = small()
    module = Module(load_graph(model), TARGET, Dataset.from_arrays({"x": x}))
    steps: list[Step] = []
    Pipeline.parse(pipeline).run(module, [steps.append])
    return module, steps[-1].changes


def test_it_prints_and_parses() -> None:
    text = "round-weights{solver=comq,damping=0.1}"
    assert str(Pipeline.parse(text)) == text


@pytest.mark.parametrize("solver", ["gptq", "comq", "nearest"])
def test_weights_are_on_the_grid_and_integerize_recovers_their_integers(solver: str) -> None:
    module, changes = after(f"{BEFORE},round-weights{{solver={solver}}}")
    assert len(changes.made) == 3
    assert len(changes.notes) == 1
    expected = []
    for node in module.graph.nodes(*LINEAR):
        weight = weight_value(node)
        assert weight.constant is not None
        chosen = module.plan[weight.name]
        steps = weight.constant / chosen.scales_for(weight.rank)
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-5)
        assert np.abs(steps).max() < 7.5
        expected.append(np.rint(steps).T if node.op == "MatMul" else np.rint(steps))
    Pipeline.parse(AFTER).run(module)
    found = [node.weight for node in module.require_integer() if isinstance(node, Conv | Linear)]
    for integers, steps in zip(found, expected, strict=True):
        np.testing.assert_array_equal(integers, steps)


@pytest.mark.parametrize("solver", ["gptq", "comq", "nearest"])
def test_biases_take_up_the_mean_of_the_error(solver: str) -> None:
    sketch = Sketch(x=("N", 4, 6, 6))
    convolved = sketch.add("Conv", "x", normal(6, 2, 3, 3), normal(6, seed=1), pads=[1, 1, 1, 1], group=2)
    model, x = sketch.model(convolved), small()[1]
    module = Module(load_graph(model), TARGET, Dataset.from_arrays({"x": x}))
    Pipeline.parse(f"{BEFORE},round-weights{{solver={solver}}}").run(module)
    (exact,), (rounded,) = run(model, x=x), run(module.graph.to_onnx(), x=x)
    assert np.abs(rounded - exact).max() > 0.1
    np.testing.assert_allclose(rounded.mean(axis=(0, 2, 3)), exact.mean(axis=(0, 2, 3)), atol=2e-4)


def test_learned_rounding_moves_the_outputs_of_digits_less(digits: Path) -> None:
    def noise(rounding: str) -> float:
        graph = load_graph(digits / "digits.onnx")
        data = Dataset.open(digits / "calibration.npz", {value.name: value.sample_shape for value in graph.inputs})
        (name,) = (value.name for value in graph.inputs)
        with np.load(digits / "calibration.npz") as file:
            x = file[name].astype(np.float32)
        (exact,) = run(onnx.load(digits / "digits.onnx"), **{name: x})
        module = Module(graph, TARGET, data)
        Pipeline.parse(f"{BEFORE},{rounding}{AFTER}").run(module)
        integer = module.require_integer()
        (output,) = (value.name for value in graph.outputs)
        integers = run_integer(integer, {name: integer.values[name].format.quantize(x)})[output]
        return float(((integer.values[output].format.dequantize(integers) - exact) ** 2).sum())

    plain = noise("")
    assert noise("round-weights,") < plain
    assert noise("round-weights{solver=comq},") < plain


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (f"{NORMALISE},calibrate,quantize-weights,round-weights", r"Put calibrate\{grams=true\} before round-weights"),
        (f"{NORMALISE},quantize-weights,round-weights", "Put `calibrate` before it"),
        (f"{NORMALISE},calibrate{{grams=true}},round-weights", "Put quantize-weights before round-weights"),
        (f"{BEFORE},round-weights{{solver=gptp}}", "there is no solver gptp.*gptq"),
        (f"{BEFORE},round-weights{{damping=0}}", "Give more than 0 and at most 1"),
    ],
)
def test_it_says_what_it_needs(pipeline: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        after(pipeline)


def test_layers_that_shared_a_weight_are_rounded_each_for_its_own_inputs() -> None:
    sketch = Sketch(x=("N", 8))
    shared = sketch.hold(normal(8, 8))
    model = sketch.model(sketch.add("MatMul", sketch.add("MatMul", "x", shared), shared))
    module = Module(load_graph(model), TARGET, Dataset.from_arrays({"x": normal(32, 8).cumsum(axis=1)}))
    Pipeline.parse("calibrate{grams=true},quantize-weights{bits=4},round-weights").run(module)
    first, second = (weight_value(node).constant for node in module.graph.nodes("MatMul"))
    assert first is not None
    assert second is not None
    assert not np.array_equal(first, second)
