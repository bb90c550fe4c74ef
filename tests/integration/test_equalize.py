"""An equalized ReLU6 in integers: caps per channel mean the same in the interpreter, in integer.onnx and in ORT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsmith.backends.onnxruntime import build_model, float_compute_nodes, optimize, serialize
from bitsmith.dataset import Dataset
from bitsmith.execution.batches import vectors
from bitsmith.execution.export import from_onnx, to_onnx
from bitsmith.execution.interpreter import run
from bitsmith.execution.runtime import session_options
from bitsmith.importing.load import load_graph
from bitsmith.ir.integer import Conv, IntegerGraph, Table
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.backends.onnxruntime.agreement import assert_agrees
from tests.sketch import Array, Sketch, normal

PLAN = "calibrate,quantize-weights{granularity=tensor},quantize-activations{observer=min-max},quantize-biases"


def block(seed: int, pooled: bool) -> tuple[Sketch, str]:
    """An inverted residual block of channels that differ tenfold; `pooled` puts a pool before one ReLU6."""
    spread = (10 ** np.random.default_rng(seed).uniform(-1, 1, (6, 1, 1, 1))).astype(np.float32)
    sketch = Sketch(x=("N", 3, 6, 6))
    y = sketch.add("Conv", "x", normal(6, 3, 3, 3, seed=seed) * spread, normal(6), pads=[1, 1, 1, 1])
    y = sketch.add("MaxPool", y, kernel_shape=[2, 2]) if pooled else y
    y = sketch.add("Clip", y, np.float32(0), np.float32(6))
    z = sketch.add("Conv", y, normal(6, 1, 3, 3, seed=seed + 1) * spread[::-1], normal(6), group=6, pads=[1, 1, 1, 1])
    z = sketch.add("Clip", z, np.float32(0), np.float32(6))
    z = sketch.add("Add", sketch.add("Conv", z, normal(6, 6, 1, 1, seed=seed + 2), normal(6)), y)
    return sketch, str(sketch.add("Conv", z, normal(4, 6, 1, 1, seed=seed + 3), normal(4)))


def compiled(module: Module) -> IntegerGraph:
    Pipeline.parse(f"{NORMALISE},equalize,{PLAN},integerize").run(module)
    return module.require_integer()


def assert_same_integers(graph: IntegerGraph, inputs: dict[str, Array]) -> None:
    model = to_onnx(graph)
    session = onnxruntime.InferenceSession(model.SerializeToString(), session_options())
    exact = run(graph, inputs)
    for name, found in zip(graph.outputs, session.run(list(graph.outputs), inputs), strict=True):
        np.testing.assert_array_equal(found, exact[name])
    again = run(from_onnx(model), inputs)
    assert all(np.array_equal(again[name], exact[name]) for name in graph.outputs)


@settings(max_examples=10)
@given(st.integers(0, 99), st.booleans())
def test_caps_mean_the_same_everywhere(seed: int, pooled: bool) -> None:
    sketch, y = block(seed, pooled)
    data = Dataset.from_arrays({"x": normal(32, 3, 6, 6, seed=seed)})
    graph = compiled(Module(load_graph(sketch.model(y)), Target("test", "none"), data))
    capped = [one for one in graph if isinstance(one, Conv) and one.requantize.caps is not None]
    tables = [one for one in graph if isinstance(one, Table)]
    assert len(tables) == (2 if pooled else 0)
    assert capped or pooled
    inputs = vectors(graph, 24, seed=seed)
    assert_same_integers(graph, inputs)
    assert_agrees(graph, inputs)


@pytest.mark.parametrize("name", ["mobilenetv2s_cifar10"])
def test_a_real_model_keeps_its_integer_kernels(name: str, model_file: Callable[[str], Path]) -> None:
    graph = load_graph(model_file(f"{name}.onnx"))
    data = Dataset.open(model_file(f"{name}.calib.npz"), {one.name: one.sample_shape for one in graph.inputs})
    integer = compiled(Module(graph, Target("test", "none"), data.take(32)))
    assert not any(isinstance(one, Table) for one in integer)
    assert sum(one.requantize.caps is not None for one in integer if isinstance(one, Conv)) > 10
    assert_same_integers(integer, vectors(integer, 4, seed=0))
    written = build_model(integer)
    assert float_compute_nodes(optimize(serialize(written))) == []
