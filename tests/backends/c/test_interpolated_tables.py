"""A model with 16-bit activations, from float to C: what its functions cost, and that the C is the interpreter's."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from bitsmith.dataset import Dataset
from bitsmith.execution.interpreter import run
from bitsmith.figures import other_bytes
from bitsmith.importing.load import load_graph
from bitsmith.ir.integer import IntegerGraph, InterpolatedTable, Table
from bitsmith.legality import backend_of
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import load_target
from tests.backends.c.agreement import assert_equal


def model() -> onnx.ModelProto:
    """Conv, HardSwish, Conv, PRelu by channel, Sigmoid."""
    random = np.random.default_rng(3)
    weights = {
        "w1": random.normal(0, 0.7, (6, 3, 3, 3)),
        "w2": random.normal(0, 0.4, (4, 6, 1, 1)),
        "slopes": np.array([0.1, 0.2, 0.3, 0.4]).reshape(4, 1, 1),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="conv1"),
        helper.make_node("HardSwish", ["a"], ["b"], name="swish"),
        helper.make_node("Conv", ["b", "w2"], ["c"], name="conv2"),
        helper.make_node("PRelu", ["c", "slopes"], ["d"], name="rectify"),
        helper.make_node("Sigmoid", ["d"], ["y"], name="sigmoid"),
    ]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 10, 10])]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 8, 8])]
    held = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "wide", ends, made, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.fixture(scope="module")
def samples() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(5).normal(0, 1, (32, 3, 10, 10)).astype(np.float32)


def compiled(x: np.ndarray[Any, np.dtype[np.float32]], bits: int, target: str) -> IntegerGraph:
    module = Module(load_graph(model()), load_target(target), Dataset.from_arrays({"x": x}))
    planned = f"calibrate,quantize-weights,quantize-activations{{bits={bits}}},quantize-biases,integerize"
    Pipeline.parse(f"{NORMALISE},{planned}").run(module)
    return module.require_integer()


def test_functions_of_16_bits_cost_kilobytes_and_equal_the_interpreter(samples: np.ndarray[Any, Any]) -> None:
    graph = compiled(samples, 16, "host")
    tables = [operation for operation in graph if isinstance(operation, InterpolatedTable)]
    assert [operation.function.op for operation in tables] == ["HardSwish", "PRelu", "Sigmoid"]
    # The PRelu has a row for each of four channels: entries would be 128 KiB a row.
    assert sum(operation.nbytes for operation in tables) < 6 * (128 << 10) // 64
    program = assert_equal(graph)
    kernels = [step.kernel for step in program.steps if step.kernel.family == "interpolated-table"]
    assert [kernel.flash for kernel in kernels] == [other_bytes(operation) for operation in tables]


def test_of_8_bits_all_entries_are_kept(samples: np.ndarray[Any, Any]) -> None:
    graph = compiled(samples, 8, "host")
    assert [one.function.op for one in graph if isinstance(one, Table)] == ["HardSwish", "PRelu", "Sigmoid"]
    assert not any(isinstance(one, InterpolatedTable) for one in graph)


def test_onnx_runtime_computes_the_functions_themselves(samples: np.ndarray[Any, Any], tmp_path: Any) -> None:
    graph = compiled(samples, 16, "onnxruntime")
    files = backend_of(load_target("onnxruntime")).emit(graph, load_target("onnxruntime"), tmp_path)
    (path,) = [file for file in files if file.suffix == ".onnx"]
    found = ort.InferenceSession(tmp_path / path).run(None, {"x": samples})[0]
    (name,) = graph.outputs
    given, made = graph.values["x"].format, graph.values[name].format
    exact = made.dequantize(run(graph, {"x": given.quantize(samples)})[name])
    # A step at every operation, of which the slopes behind it make at most a few of the last one's.
    assert np.abs(found - exact).max() <= 16 * made.scale[0]
