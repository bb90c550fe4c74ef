"""A transformer block from a float model to integers: normalisations, attention and MLP, exact in every execution."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from bitsmith.backends.onnxruntime import build_model, serialize
from bitsmith.backends.onnxruntime.verify import run_integers
from bitsmith.dataset import Dataset
from bitsmith.execution.export import from_onnx, to_onnx
from bitsmith.execution.interpreter import run
from bitsmith.importing.load import load_graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.legality import check
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.backends.c.agreement import assert_equal as assert_c_is_equal
from tests.compiler.execution.test_export import assert_equal as assert_onnx_is_equal
from tests.integration.attention import decibels
from tests.integration.transformer import block
from tests.sketch import Array, normal
from tests.sketch import run as run_float

TOKENS, WIDTH = 8, 16
SAMPLES, UNSEEN = normal(96, TOKENS, WIDTH, seed=1), normal(32, TOKENS, WIDTH, seed=2)
OPERATIONS = {
    "LayerNorm": 2,
    "MatMul": 2,
    "Softmax": 1,
    "Table": 1,
    "Linear": 6,
    "Add": 2,
    "Reshape": 4,
    "Transpose": 4,
}


@cache
def compiled(opset: int = 17, data_free: bool = False, outlier: float = 1.0, more: str = "") -> IntegerGraph:
    """The block in 8 bits."""
    target = Target("test", "none", activation_bits=(8,))
    data = None if data_free else Dataset.from_arrays({"x": SAMPLES})
    module = Module(load_graph(block(TOKENS, WIDTH, opset=opset, outlier=outlier)), target, data)
    learn = "estimate-statistics" if data_free else "calibrate"
    start = "record-batch-norms," if data_free else ""
    Pipeline.parse(
        f"{start}{NORMALISE},{more}{learn},quantize-weights,quantize-activations,quantize-biases,integerize"
    ).run(module)
    return module.require_integer()


def near(graph: IntegerGraph, outlier: float = 1.0) -> float:
    """Signal to noise on unseen samples, in dB, beside the float model."""
    (exact,) = run_float(block(TOKENS, WIDTH, outlier=outlier), x=UNSEEN)
    (name,) = graph.outputs
    made = run(graph, {"x": graph.values["x"].format.quantize(UNSEEN)})[name]
    return decibels(exact, graph.values[name].format.dequantize(made))


def inputs(graph: IntegerGraph, count: int = 6) -> dict[str, Array]:
    return {"x": graph.values["x"].format.quantize(UNSEEN[:count])}


@pytest.mark.parametrize("opset", [13, 17])
def test_each_part_is_one_operation_however_it_was_exported(opset: int) -> None:
    kinds = [operation.kind for operation in compiled(opset)]
    assert {kind: kinds.count(kind) for kind in kinds} == OPERATIONS
    assert near(compiled(opset)) > 30


def test_every_execution_agrees() -> None:
    graph = compiled()
    few = inputs(graph)
    made = run(graph, few)[graph.outputs[0]]
    assert_onnx_is_equal(graph, few)
    assert_c_is_equal(graph, few)
    (by_definition,) = ReferenceEvaluator(to_onnx(graph)).run(None, few)
    np.testing.assert_array_equal(by_definition, made)
    again = from_onnx(to_onnx(graph))
    np.testing.assert_array_equal(run(again, few)[graph.outputs[0]], made)


def test_onnxruntime_strays_on_ties_alone() -> None:
    graph = compiled()
    few = inputs(graph, 32)
    off = run_integers(graph, serialize(build_model(graph)), few)[graph.outputs[0]].astype(int)
    off -= run(graph, few)[graph.outputs[0]]
    assert (off != 0).mean() < 0.02
    assert np.abs(off).max() <= 2


def test_without_data_it_is_near_too() -> None:
    assert near(compiled(data_free=True)) > 25


def test_outliers_of_a_gain_move_into_weights() -> None:
    """smooth divides gain and offset by what the weights that read them are multiplied by."""
    plain, smoothed = (
        near(compiled(outlier=30.0, more=more), 30.0) for more in ("", "smooth{weights=8,activations=8},")
    )
    assert smoothed > plain + 3


@pytest.mark.parametrize("target", ["qonnx", "hls4ml-vitis", "rtl"])
def test_where_it_has_no_exact_form_it_is_refused_by_name(target: str, tmp_path: object) -> None:
    path = f"{tmp_path}/block.onnx"
    with open(path, "wb") as file:
        file.write(block(TOKENS, WIDTH).SerializeToString())
    found = {refusal.where.split()[0] for refusal in check(path, target).refusals}
    assert {"LayerNormalization", "MatMul", "Softmax"} <= found
