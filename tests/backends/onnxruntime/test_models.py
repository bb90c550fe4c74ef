"""Whole models: ONNX Runtime runs them in its integer kernels, and they classify as the integers do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitsmith.backends.onnxruntime import build_model, float_compute_nodes, optimize, serialize
from bitsmith.backends.onnxruntime.verify import run_integers
from bitsmith.dataset import Dataset
from bitsmith.execution.interpreter import run_batched
from bitsmith.importing.load import load_graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.target import Target
from tests.integration.test_ops import PIPELINE


def integer_graph(model: Path, x: np.ndarray) -> IntegerGraph:  # type: ignore[type-arg]
    module = Module(load_graph(model), Target("test", "none"), Dataset.from_arrays({"x": x}))
    Pipeline.parse(PIPELINE).run(module)
    return module.require_integer()


def test_the_digits_are_read_as_the_integers_read_them(digits: Path) -> None:
    evaluation = np.load(digits / "evaluation.npz")
    graph = integer_graph(digits / "digits.onnx", np.load(digits / "calibration.npz")["x"])
    serialized = serialize(build_model(graph))
    assert float_compute_nodes(optimize(serialized)) == []
    (name,) = graph.outputs
    inputs = {key: graph.values[key].format.quantize(evaluation["x"]) for key in graph.inputs}
    exact, found = run_batched(graph, inputs)[name], run_integers(graph, serialized, inputs)[name]
    hits = [(logits.argmax(axis=1) == evaluation["y"]).mean() for logits in (exact, found)]
    assert abs(hits[0] - hits[1]) <= 0.003


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("resnet8_cifar10", {"QLinearConv": 9, "QLinearAdd": 3, "QGemm": 1}),
        ("mobilenetv2s_cifar10", {"QLinearConv": 39, "QLinearAdd": 7}),
        ("autoencoder_ad", {"QGemm": 10}),
    ],
)
def test_between_the_two_ends_of_a_model_everything_is_integers(
    name: str, kernels: dict[str, int], model_file: Callable[[str], Path]
) -> None:
    x = np.load(model_file(f"{name}.calib.npz"))["x"][:8]
    graph = integer_graph(model_file(f"{name}.onnx"), x)
    model = optimize(serialize(build_model(graph)))
    found = Counter(node.op_type for node in model.graph.node)
    assert {op: found[op] for op in kernels} == kernels
    assert (found["QuantizeLinear"], found["DequantizeLinear"]) == (1, 1)
    assert float_compute_nodes(model) == []
