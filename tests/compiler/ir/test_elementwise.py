"""What functions of one value compute, against ONNX's reference evaluator; and what of them the compiler accepts."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from bitsmith.dataset import Dataset
from bitsmith.errors import UnsupportedError
from bitsmith.importing.load import load_graph
from bitsmith.ir.elementwise import FUNCTIONS, RISING, TABULATED, apply
from bitsmith.ir.integer import IntegerGraph, Table
from bitsmith.legality import backend_of
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.passes.integerize.tables import tabulated
from bitsmith.pipelines import NORMALISE
from bitsmith.target import load_target

DOMAINS = {
    "Acos": (-1.0, 1.0),
    "Acosh": (1.0, 9.0),
    "Asin": (-1.0, 1.0),
    "Atanh": (-0.99, 0.99),
    "Log": (0.01, 9.0),
    "Reciprocal": (0.1, 9.0),
    "Sqrt": (0.0, 9.0),
    "Tan": (-1.5, 1.5),
}
ATTRIBUTES: dict[str, list[dict[str, Any]]] = {
    "Celu": [{"alpha": 0.5}],
    "Elu": [{"alpha": 0.5}],
    "Gelu": [{"approximate": "tanh"}],
    "HardSigmoid": [{"alpha": 0.3, "beta": 0.25}],
    "LeakyRelu": [{"alpha": 0.25}],
    "Selu": [{"alpha": 1.5, "gamma": 1.25}],
    "Shrink": [{"lambd": 0.25, "bias": 0.125}],
    "ThresholdedRelu": [{"alpha": 0.5}],
}
FORMS = [(op, attributes) for op in sorted(FUNCTIONS) for attributes in [{}, *ATTRIBUTES.get(op, [])]]


def model_of(op: str, attributes: dict[str, Any]) -> onnx.ModelProto:
    nodes = [helper.make_node(op, ["x"], ["y"], name="of_one", **attributes)]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 41]) for name in "xy")
    graph = helper.make_graph(nodes, "one", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def samples_of(op: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.linspace(*DOMAINS.get(op, (-6.0, 6.0)), 8 * 41, dtype=np.float32).reshape(8, 41)


def compiled(model: onnx.ModelProto, x: np.ndarray[Any, Any]) -> IntegerGraph:
    module = Module(load_graph(model), load_target("onnxruntime"), Dataset.from_arrays({"x": x}))
    passes = "calibrate,quantize-weights,quantize-activations{observer=min-max},quantize-biases,integerize"
    Pipeline.parse(f"{NORMALISE},{passes}").run(module)
    return module.require_integer()


@pytest.mark.parametrize(("op", "attributes"), FORMS)
def test_a_function_is_what_onnx_says(op: str, attributes: dict[str, Any]) -> None:
    model, x = model_of(op, attributes), samples_of(op)
    (node,) = load_graph(model).nodes()
    expected = ReferenceEvaluator(model).run(None, {"x": x})[0]
    np.testing.assert_allclose(apply(node, x.astype(np.float64)), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("op", "attributes"), FORMS)
def test_onnx_runtime_has_it_too(op: str, attributes: dict[str, Any], tmp_path: Any) -> None:
    model, x = model_of(op, attributes), samples_of(op)
    integer = compiled(model, x)
    files = backend_of(load_target("onnxruntime")).emit(integer, load_target("onnxruntime"), tmp_path)
    (path,) = [file for file in files if file.suffix == ".onnx"]
    given = integer.values["x"].format
    low, high = DOMAINS.get(op, (-np.inf, np.inf))
    on_grid = np.clip(given.dequantize(given.quantize(x)), low, high).astype(np.float32)
    found = ort.InferenceSession(tmp_path / path).run(None, {"x": on_grid})[0]
    expected = ReferenceEvaluator(model).run(None, {"x": on_grid})[0]
    made = integer.values[integer.outputs[0]].format
    exact = np.clip(expected, *(made.dequantize(np.array([made.type.lowest, made.type.highest]))))
    assert np.abs(found - exact).max() <= 0.52 * made.scale[0]


def test_what_is_said_to_rise_does() -> None:
    for op in RISING & FUNCTIONS.keys():
        (node,) = load_graph(model_of(op, {})).nodes()
        low, high = DOMAINS.get(op, (-6.0, 6.0))
        assert (np.diff(apply(node, np.linspace(low, high, 999))) >= 0).all(), op
    for op in TABULATED - RISING - {"Neg", "Acos", "Reciprocal"}:
        (node,) = load_graph(model_of(op, {})).nodes()
        slopes = np.diff(apply(node, np.linspace(*DOMAINS.get(op, (-6.0, 6.0)), 999)))
        assert (slopes < 0).any() or op in ("Shrink", "Tan"), op


def test_past_the_domain_a_function_goes_on_as_at_its_end() -> None:
    x = np.linspace(-1.0, 1.0, 82, dtype=np.float32).reshape(2, 41)
    integer = compiled(model_of("Asin", {}), x)
    (table,) = integer.operations
    assert isinstance(table, Table)
    reals = integer.values["x"].format.dequantize(np.arange(-128, 128))
    assert np.abs(reals).max() > 1.0
    entries = table.entries[0]
    assert (entries[reals > 1.0] == entries[reals <= 1.0][-1]).all()
    assert (entries[reals < -1.0] == entries[reals >= -1.0][0]).all()


def test_a_function_that_is_defined_nowhere_is_refused() -> None:
    (node,) = load_graph(model_of("Sqrt", {})).nodes()
    with pytest.raises(UnsupportedError, match="Sqrt is not a number for anything that x may be"):
        tabulated(node, np.array([-2.0, -1.0]))
