"""The written model as a file: its names, its bytes, and the backend that writes and runs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from bitsmith import registry
from bitsmith.backends import onnxruntime as package
from bitsmith.backends.onnxruntime import (
    OnnxRuntimeBackend,
    build_model,
    float_compute_nodes,
    optimize,
    serialize,
    session_options,
)
from bitsmith.backends.onnxruntime.emit import FILE
from bitsmith.errors import ArtifactError, VerificationError
from bitsmith.execution.batches import vectors
from bitsmith.execution.interpreter import run
from bitsmith.ir.integer import HostOperation, IntegerGraph, Reshape, Value
from bitsmith.target import Target, load_target
from tests.backends.onnxruntime.agreement import assert_agrees
from tests.backends.onnxruntime.graphs import X, Y, conv, linear, one

BACKEND = OnnxRuntimeBackend()
TARGET = Target("onnxruntime", "onnxruntime")


def with_softmax(graph: IntegerGraph) -> IntegerGraph:
    host = (HostOperation("y", "Softmax", (("axis", 1),)),)
    return IntegerGraph(graph.name, graph.values, graph.inputs, graph.outputs, graph.operations, host=host)


def test_the_target_is_found_and_names_the_backend() -> None:
    target = load_target("onnxruntime")
    assert registry.find(registry.BACKENDS, target.backend) is OnnxRuntimeBackend
    assert (target.weight_bits[0], target.activation_bits[0], target.granularities[0]) == (8, 8, "channel")


def test_float_goes_in_and_comes_out_under_the_same_names_for_any_batch() -> None:
    graph = linear((7,))
    model = build_model(graph)
    onnx.checker.check_model(model, full_check=True)
    ends = [(end.name, end.type.tensor_type.elem_type) for end in (*model.graph.input, *model.graph.output)]
    assert ends == [("x", TensorProto.FLOAT), ("y", TensorProto.FLOAT)]
    session = onnxruntime.InferenceSession(serialize(model), providers=["CPUExecutionProvider"])
    for samples in (1, 5):
        (y,) = session.run(["y"], {"x": np.zeros((samples, 7), np.float32)})
        assert y.shape == (samples, 5)
        assert y.dtype == np.float32


def test_values_named_like_the_tensors_of_others_stay_apart() -> None:
    graph = one(
        Reshape("move", ("y_quantized",), "y"), {"y_quantized": (4,)}, {"y_quantized": X, "y": X}, declared=(2, 2)
    )
    model = build_model(graph)
    onnx.checker.check_model(model, full_check=True)
    real = X.dequantize(np.arange(8).reshape(2, 4))
    session = onnxruntime.InferenceSession(serialize(model), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"y_quantized": real})
    np.testing.assert_array_equal(y, real.reshape(2, 2, 2))


def test_an_output_that_is_also_read_is_fused_all_the_same() -> None:
    first, second = conv((5, 5), out_channels=4), conv((5, 5), x=Y, y=X, seed=1)
    (a,), (b,) = first.operations, second.operations
    values = {"x": first.values["x"], "m": replace(first.values["y"], name="m"), "y": second.values["y"]}
    steps = (replace(a, output="m"), replace(b, name="conv2", inputs=("m",)))
    graph = IntegerGraph("two", values, ("x",), ("m", "y"), steps)
    model = optimize(serialize(build_model(graph)))
    assert [node.op_type for node in model.graph.node].count("QLinearConv") == 2
    assert float_compute_nodes(model) == []
    assert_agrees(graph, vectors(graph, 20, seed=6))


def test_a_softmax_is_left_to_float_and_kept_out_of_the_integers(tmp_path: Path) -> None:
    plain = linear((7,))
    graph = with_softmax(plain)
    BACKEND.emit(graph, TARGET, tmp_path)
    inputs = vectors(graph, 50, seed=4)
    found = BACKEND.run(graph, tmp_path, inputs)
    assert np.abs(found["y"].astype(int) - run(graph, inputs)["y"]).max() <= 1

    session = onnxruntime.InferenceSession(tmp_path / FILE, session_options(), providers=["CPUExecutionProvider"])
    (y,) = session.run(["y"], {"x": X.dequantize(inputs["x"])})
    logits = graph.values["y"].format.dequantize(found["y"]).astype(np.float64)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(y, odds / odds.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-7)


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        assert BACKEND.emit(with_softmax(conv((6, 6))), TARGET, folder) == [Path(FILE)]
        assert [path.name for path in folder.iterdir()] == [FILE]
        written.append((folder / FILE).read_bytes())
    assert written[0] == written[1]


def test_what_was_written_is_what_is_run(tmp_path: Path) -> None:
    graph = conv((6, 6))
    BACKEND.emit(graph, TARGET, tmp_path)
    inputs = vectors(graph, 30, seed=5)
    found, exact = BACKEND.run(graph, tmp_path, inputs), run(graph, inputs)
    assert found["y"].dtype == exact["y"].dtype
    assert (found["y"] != exact["y"]).mean() < 1e-3

    model = onnx.load(tmp_path / FILE)
    for tensor in model.graph.initializer:
        if tensor.name == "conv_bias_quantized":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 5000, tensor.name))
    onnx.save(model, tmp_path / FILE)
    assert (BACKEND.run(graph, tmp_path, inputs)["y"] != exact["y"]).mean() > 0.1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    graph = linear((7,))
    with pytest.raises(ArtifactError, match=FILE):
        BACKEND.run(graph, tmp_path, vectors(graph, 1, seed=0))


def test_a_file_that_is_no_model_of_the_graph_is_an_error(tmp_path: Path) -> None:
    graph = with_softmax(linear((7,)))
    for stranger in (b"no model", b"", serialize(build_model(conv((6, 6)))), serialize(build_model(linear((9,))))):
        (tmp_path / FILE).write_bytes(stranger)
        with pytest.raises(ArtifactError, match="Compile the model again"):
            BACKEND.run(graph, tmp_path, vectors(graph, 2, seed=0))


def test_products_that_stay_in_float_are_found_in_the_graph_that_runs() -> None:
    model = build_model(conv((6, 6)))
    assert float_compute_nodes(model) == ["Conv conv"]
    assert float_compute_nodes(optimize(serialize(model))) == []
    for tensor in model.graph.initializer:
        if tensor.name == "conv_bias_scale":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 2, tensor.name))
    assert [found.split()[0] for found in float_compute_nodes(optimize(serialize(model)))] == ["Conv"]


def test_nothing_is_written_that_would_run_in_float(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = helper.make_node("MatMul", ["a", "b"], ["y"], name="left")
    left = helper.make_model(helper.make_graph([real], "left", [], []))
    monkeypatch.setattr(package, "optimize", lambda model: left)
    with pytest.raises(VerificationError, match="MatMul left"):
        BACKEND.emit(linear((7,)), TARGET, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_asks_for_wider_integers_is_refused() -> None:
    graph = None  # The refusals are about the target alone.
    wide = Target("wide", "onnxruntime", weight_bits=(8, 16), activation_bits=(16, 17))
    refusals = BACKEND.refusals(graph, wide)  # type: ignore[arg-type]
    assert [str(refusal).split(":")[0] for refusal in refusals] == ["target wide", "target wide"]
    assert ["16-bit weights" in refusals[0].reason, "17-bit activations" in refusals[1].reason] == [True, True]
    assert BACKEND.refusals(graph, load_target("onnxruntime")) == []  # type: ignore[arg-type]


def test_a_trace_shows_the_result_of_every_operation(tmp_path: Path) -> None:
    first = conv((6, 6))
    flat = Value("z", (6 * 6 * 6,), first.values["y"].format)
    graph = IntegerGraph(
        "two", {**first.values, "z": flat}, ("x",), ("z",), (*first.operations, Reshape("flatten", ("y",), "z"))
    )
    BACKEND.emit(graph, TARGET, tmp_path)
    inputs = vectors(graph, 64, seed=0)
    traced = BACKEND.trace(graph, tmp_path, inputs)
    expected = run(graph, inputs, keep=True)
    assert list(traced) == [operation.output for operation in graph]
    for name, integers in traced.items():
        assert integers.dtype == expected[name].dtype
        # A result on a tie, or within rounding error of one, may fall the other way.
        assert np.abs(integers.astype(int) - expected[name].astype(int)).max() <= 1
    for name, integers in BACKEND.run(graph, tmp_path, inputs).items():
        assert np.array_equal(traced[name], integers)
