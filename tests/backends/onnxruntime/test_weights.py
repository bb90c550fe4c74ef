"""Weights of every kind: the type they are kept in, what that takes, and how ONNX Runtime runs it at every level."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from bitsmith.backends.onnxruntime import OnnxRuntimeBackend, build_model, float_compute_nodes, optimize, serialize
from bitsmith.backends.onnxruntime.weights import in_float, storages
from bitsmith.execution.batches import vectors
from bitsmith.execution.export import to_onnx
from bitsmith.execution.interpreter import run
from bitsmith.execution.runtime import session_options
from bitsmith.ir.formats import Format, IntegerType, holding
from bitsmith.ir.grids import TERNARY, Codebook, Grid, Grouped, minifloat, offset, power_sums, powers
from bitsmith.ir.integer import Conv, IntegerGraph, Linear
from bitsmith.target import Target
from tests.backends.onnxruntime.agreement import assert_agrees
from tests.backends.onnxruntime.graphs import Y, conv, linear, one, requantize

OUTPUTS, INPUTS = 6, 36
LEVELS = tuple(
    getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    for level in ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL")
)


@dataclass(frozen=True)
class Case:
    """A kind of weights, and what is expected of it: the stored type, its bits, and whether ORT runs it in float."""

    kind: Grid | IntegerType
    type: int
    bits: int
    is_float: bool = False


CASES = {
    "int8": Case(IntegerType(8), TensorProto.INT8, 8),
    "int6": Case(IntegerType(6), TensorProto.INT8, 8),
    "int4": Case(IntegerType(4), TensorProto.INT4, 4),
    "int3": Case(IntegerType(3), TensorProto.INT4, 4),
    "int2": Case(IntegerType(2), TensorProto.INT2, 2),
    "uint2": Case(IntegerType(2, signed=False), TensorProto.UINT2, 2),
    "uint4": Case(IntegerType(4, signed=False), TensorProto.UINT4, 4),
    "ternary": Case(TERNARY, TensorProto.INT2, 2),
    "offset of 2 bits": Case(offset(2, (True, False, True, False, False, True)), TensorProto.UINT2, 2),
    "offset of 4 bits": Case(offset(4, (True, False, True, False, False, True)), TensorProto.UINT4, 4),
    "codebook of 4": Case(Codebook(((-90, -11, 7, 127),), "k-means"), TensorProto.UINT2, 2),
    "codebook of 16": Case(Codebook((tuple(range(-127, 128, 16)),), "k-means"), TensorProto.UINT4, 4),
    "a codebook a channel": Case(
        Codebook(tuple((-90 - channel, -channel, 7, 99) for channel in range(OUTPUTS)), "k-means"), TensorProto.UINT2, 2
    ),
    "powers": Case(powers(4), TensorProto.UINT4, 4),
    "power sums": Case(power_sums(8), TensorProto.INT8, 8),
    "e2m1": Case(minifloat("e2m1"), TensorProto.UINT4, 4),
    "e2m3": Case(minifloat("e2m3"), TensorProto.INT8, 8),
    "e3m2": Case(minifloat("e3m2"), TensorProto.FLOAT8E4M3FN, 8, is_float=True),
    "e4m3": Case(minifloat("e4m3"), TensorProto.FLOAT8E4M3FN, 8, is_float=True),
    "e5m2": Case(minifloat("e5m2"), TensorProto.FLOAT8E5M2, 8, is_float=True),
    "levels of 9 bits": Case(Codebook(((-201, -1, 0, 255),), "k-means"), TensorProto.INT16, 16, is_float=True),
    "groups of 4 bits": Case(
        Grouped(4, 8, tuple((1, 7, 255, 2 + channel, 9) for channel in range(OUTPUTS))),
        TensorProto.INT4,
        4,
        is_float=True,
    ),
    "groups of 2 bits": Case(
        Grouped(2, 36, tuple((1 + channel,) for channel in range(OUTPUTS))), TensorProto.INT2, 2, is_float=True
    ),
}


def weights_of(case: Case, shape: tuple[int, ...]) -> tuple[Format, np.ndarray]:  # type: ignore[type-arg]
    random = np.random.default_rng(5)
    if isinstance(case.kind, IntegerType):
        chosen = Format(case.kind, tuple(random.uniform(0.5, 2.0, OUTPUTS) / case.kind.highest), axis=0)
        return chosen, random.integers(case.kind.lowest, case.kind.highest, shape, endpoint=True)
    kind = holding(case.kind.lowest, case.kind.highest)
    chosen = Format(kind, tuple(random.uniform(0.5, 2.0, OUTPUTS) / case.kind.highest), axis=0, grid=case.kind)
    return chosen, chosen.quantize(random.normal(size=shape))


def graphs(case: Case) -> list[IntegerGraph]:
    """A Conv, a depthwise one where the inputs of a channel do not matter to the grid, and a Linear."""
    made = [conv((5, 5)), linear((INPUTS,), out=OUTPUTS)]
    if not isinstance(case.kind, Grouped):
        made.append(conv((5, 5), channels=OUTPUTS, groups=OUTPUTS))
    found = []
    for graph in made:
        (operation,) = graph.operations
        assert isinstance(operation, Conv | Linear)
        chosen, integers = weights_of(case, operation.weight.shape)
        ratio = np.array(chosen.scale) * graph.values["x"].format.scale[0] / Y.scale[0]
        rule = requantize(ratio.reshape(-1, *[1] * (operation.weight.ndim - 2)), Y)
        bias = np.random.default_rng(6).integers(-40, 40, OUTPUTS) / 0.05 / np.array(chosen.scale) / 40
        changed = replace(operation, weight=integers, weight_format=chosen, bias=bias.astype(np.int32), requantize=rule)
        found.append(one(changed, {"x": graph.values["x"].shape}, {"x": graph.values["x"].format, "y": Y}))
    return found


def kept(model: onnx.ModelProto) -> onnx.TensorProto:
    (found,) = (one for one in model.graph.initializer if one.name.endswith("_weight_quantized"))
    return found


@pytest.mark.parametrize("name", CASES)
def test_it_is_kept_in_the_narrowest_type_and_runs_at_every_level(name: str) -> None:
    case = CASES[name]
    for graph in graphs(case):
        (operation,) = graph.operations
        assert isinstance(operation, Conv | Linear)
        model = build_model(graph)
        onnx.checker.check_model(model, full_check=True)
        tensor = kept(model)
        assert tensor.data_type == case.type
        assert len(tensor.raw_data) == math.ceil(operation.weight.size * case.bits / 8)
        found = float_compute_nodes(optimize(serialize(model)))
        assert [node.split(" ", 1)[1] for node in found] == ([operation.name] if case.is_float else [])
        assert in_float(graph) == ({operation.name} if case.is_float else set())

        inputs = vectors(graph, 40, seed=8)
        assert_agrees(graph, inputs)
        exact = run(graph, inputs)["y"].astype(int)
        assert np.unique(exact).size > 20
        for level in LEVELS:
            options = session_options(threads=1)
            options.graph_optimization_level = level
            session = onnxruntime.InferenceSession(serialize(model), options, providers=["CPUExecutionProvider"])
            (real,) = session.run(None, {"x": graph.values["x"].format.dequantize(inputs["x"])})
            differences = np.abs(Y.quantize(real).astype(int) - exact)
            assert differences.max() <= 1
            assert (differences > 0).mean() < 0.01


@pytest.mark.parametrize("name", CASES)
def test_integer_onnx_makes_the_same_of_it_as_the_interpreter(name: str) -> None:
    for graph in graphs(CASES[name]):
        inputs = vectors(graph, 40, seed=9)
        model = to_onnx(graph).SerializeToString()
        session = onnxruntime.InferenceSession(model, session_options(), providers=["CPUExecutionProvider"])
        (found,) = session.run(None, dict(inputs))
        np.testing.assert_array_equal(found, run(graph, inputs)["y"])


@pytest.mark.parametrize("kind", ["e4m3", "e5m2"])
def test_float8_holds_each_weight_exactly(kind: str) -> None:
    for graph in graphs(CASES[kind]):
        (operation,) = graph.operations
        assert isinstance(operation, Conv | Linear)
        model = build_model(graph)
        held = numpy_helper.to_array(kept(model))
        assert held.dtype == helper.tensor_dtype_to_np_dtype(CASES[kind].type)
        (scale,) = (numpy_helper.to_array(one) for one in model.graph.initializer if one.name.endswith("weight_scale"))
        exact = operation.weight * operation.weight_format.scales_for(operation.weight.ndim)
        np.testing.assert_array_equal(held.astype(np.float64) * scale.astype(np.float64), exact)


def test_files_are_as_small_as_their_weights(tmp_path: Path) -> None:
    sizes = {}
    for name in ("int8", "int4", "int2"):
        chosen = Format(IntegerType(CASES[name].bits), (0.01,))
        weight = np.random.default_rng(0).integers(chosen.type.lowest, chosen.type.highest, (64, 512), endpoint=True)
        graph = linear((512,), out=64)
        (operation,) = graph.operations
        rule = requantize([chosen.scale[0] * graph.values["x"].format.scale[0] / Y.scale[0]], Y)
        operation = replace(operation, weight=weight, weight_format=chosen, requantize=rule)  # type: ignore[call-arg]
        graph = one(operation, {"x": (512,)}, {"x": graph.values["x"].format, "y": Y})
        (file,) = OnnxRuntimeBackend().emit(graph, Target("t", "onnxruntime"), tmp_path)
        sizes[name] = (tmp_path / file).stat().st_size
        onnxruntime.InferenceSession(tmp_path / file, session_options(), providers=["CPUExecutionProvider"])
    weights = 64 * 512
    for name, size in sizes.items():
        assert weights * CASES[name].bits // 8 < size < weights * CASES[name].bits // 8 + 3000


def test_how_weights_are_kept_can_be_told() -> None:
    (graph, *_) = graphs(CASES["groups of 4 bits"])
    assert {name: kept.to_json() for name, kept in storages(graph).items()} == {
        "conv": {"type": "int4", "form": "codes of groups", "kernels": "float"}
    }
