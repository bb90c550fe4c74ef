"""Attention from a float model to integers: exact in every execution, near the float network, at 4 bits too."""

from __future__ import annotations

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from bitsmith.backends.onnxruntime import build_model, float_compute_nodes, optimize, serialize
from bitsmith.backends.onnxruntime.verify import run_integers
from bitsmith.dataset import Dataset
from bitsmith.execution.batches import Batch
from bitsmith.execution.export import from_onnx, to_onnx
from bitsmith.execution.interpreter import run
from bitsmith.importing.load import load_graph
from bitsmith.ir.allocation import Allocation
from bitsmith.ir.integer import IntegerGraph, MatMul, Softmax, Thresholds
from bitsmith.legality import check
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.backends.c.agreement import assert_equal as assert_c_is_equal
from tests.compiler.execution.test_export import assert_equal as assert_onnx_is_equal
from tests.integration.attention import attention, decibels
from tests.sketch import Array, normal
from tests.sketch import run as run_float

TOKENS, WIDTH = 16, 24
MODEL = attention(TOKENS, WIDTH)
SAMPLES, UNSEEN = normal(96, TOKENS, WIDTH, seed=1), normal(48, TOKENS, WIDTH, seed=2)


def compiled(bits: int = 8, more: str = "") -> IntegerGraph:
    """The model with 8-bit weights and activations, but of the softmax, which has so many."""
    target = Target("test", "none", activation_bits=(2, 3, 4, 8))
    module = Module(load_graph(MODEL), target, Dataset.from_arrays({"x": SAMPLES}))
    Pipeline.parse(f"{NORMALISE},calibrate,quantize-weights").run(module)
    module.allocation = Allocation(activations={node.output.name: bits for node in module.graph.nodes("Softmax")})
    Pipeline.parse(f"quantize-activations{{observer=mse}},{more}quantize-biases,integerize").run(module)
    return module.require_integer()


def of(graph: IntegerGraph) -> tuple[Batch, Array, float]:
    """Unseen inputs as integers, what the graph makes of them, and how near that is to the float model."""
    inputs = {"x": graph.values["x"].format.quantize(UNSEEN)}
    (name,) = graph.outputs
    made = run(graph, inputs)[name]
    (exact,) = run_float(MODEL, x=UNSEEN)
    return inputs, made, decibels(exact, graph.values[name].format.dequantize(made))


def test_eight_bits_are_near_the_float_model() -> None:
    graph = compiled()
    assert [operation.kind for operation in graph].count("MatMul") == 2
    assert "Mul" not in {operation.kind for operation in graph}  # the scores' factor is part of a ratio
    assert of(graph)[2] > 28


@pytest.mark.parametrize("bits", [8, 4])
def test_every_execution_agrees(bits: int) -> None:
    graph = compiled(bits, "quantize-softmax,")
    softmax = next(operation for operation in graph if isinstance(operation, Softmax))
    assert isinstance(softmax.requantize, Thresholds) == (bits == 4)
    inputs, made, _ = of(graph)
    few = {"x": inputs["x"][:6]}
    assert_onnx_is_equal(graph, few)
    assert_c_is_equal(graph, few)
    (by_definition,) = ReferenceEvaluator(to_onnx(graph)).run(None, few)
    np.testing.assert_array_equal(by_definition, made[:6])
    again = from_onnx(to_onnx(graph))
    np.testing.assert_array_equal(run(again, few)[graph.outputs[0]], made[:6])


@pytest.mark.parametrize("bits", [8, 4])
def test_onnxruntime_strays_on_ties_alone(bits: int) -> None:
    graph = compiled(bits, "quantize-softmax,")
    inputs, made, _ = of(graph)
    serialized = serialize(build_model(graph))
    looked_up = [one.name for one in graph if isinstance(one, MatMul) and one.levels is not None]
    assert [node.split(" ", 1)[1] for node in float_compute_nodes(optimize(serialized))] == looked_up
    off = run_integers(graph, serialized, inputs)[graph.outputs[0]].astype(int) - made
    assert (off != 0).mean() < 0.01


def test_four_bits_of_powers_lose_less_than_equal_steps() -> None:
    _, _, equal = of(compiled(4))
    _, _, powers = of(compiled(4, "quantize-softmax,"))
    assert powers > equal + 2


@pytest.mark.parametrize("target", ["qonnx", "hls4ml-vitis", "rtl"])
def test_where_it_has_no_exact_form_it_is_refused_by_name(target: str, tmp_path: object) -> None:
    path = f"{tmp_path}/attention.onnx"
    with open(path, "wb") as file:
        file.write(MODEL.SerializeToString())
    found = {refusal.where.split()[0] for refusal in check(path, target).refusals if "attention" in refusal.reason}
    assert found == {"MatMul", "Softmax"}
