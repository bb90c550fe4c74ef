"""Files that other tools wrote, compiled as they are and held to what the files themselves make in ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from bitsmith import load
from bitsmith.importing.quantized.executable import executable
from bitsmith.metrics import decibels
from bitsmith.runners import BackendModel, IntegerModel, Runner
from tests.integration.conftest import Run

EXPORTS = Path(__file__).parent / "third_party"

FILES = {
    "aimet": ("QDQ", 20.0),
    "brevitas_qcdq": ("QDQ", 45.0),
    "brevitas_qonnx": ("QONNX", 45.0),
    "modelopt": ("QDQ", 20.0),
    "quark": ("QDQ", 45.0),
    "quark_xint8": ("QDQ", 15.0),
    "tf2onnx": ("QDQ", 20.0),
    "tf2onnx_int8": ("QDQ", 20.0),
}
"""What compiles, its dialect, and the least that signal must have over difference, in dB. Where the mean of four pixels
has the scale of the pixels, or all scales are powers of two, many results are ties, which the files round to even."""

SAMPLES = 64


def samples(name: str, digits: Path) -> np.ndarray[Any, Any]:
    """Digits that nobody calibrated on, channels last where the file has them there."""
    x: np.ndarray[Any, Any] = np.load(digits / "evaluation.npz")["x"][:SAMPLES]
    return x.transpose(0, 2, 3, 1) if name.startswith("tf2onnx") else x


def answers_of_the_file(name: str, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The file in ONNX Runtime, batch by batch; integers of inputs and outputs by the scales that stand beside them."""
    model = executable(onnx.load(EXPORTS / f"{name}.onnx"))
    held = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    (entry,) = [one for one in model.graph.input if one.name not in held]
    in_integers = entry.type.tensor_type.elem_type == onnx.TensorProto.INT8
    if in_integers:
        reader = next(n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] not in held)
        scale, zero_point = (held[operand] for operand in reader.input[1:])
        x = np.clip(np.rint(x / scale) + zero_point, -128, 127).astype(np.int8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options(), providers=["CPUExecutionProvider"])
    size = entry.type.tensor_type.shape.dim[0].dim_value or len(x)
    made = [session.run(None, {entry.name: x[start : start + size]})[0] for start in range(0, len(x), size)]
    y: np.ndarray[Any, Any] = np.concatenate(made).astype(np.float32)
    if in_integers:
        scale, zero_point = (held[operand] for operand in model.graph.node[-1].input[1:])
        y = (y - zero_point.astype(np.float32)) * scale
    return y


def options() -> onnxruntime.SessionOptions:
    """Each op as it is written, none fused."""
    made = onnxruntime.SessionOptions()
    made.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    made.log_severity_level = 3
    return made


def answers(runner: Runner, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What an artifact makes of samples."""
    (entry,) = runner.samples
    (made,) = runner.run({entry: x}).values()
    return made


@pytest.mark.parametrize("target", ["host", "onnxruntime"])
@pytest.mark.parametrize("name", FILES)
def test_it_computes_what_the_file_does(name: str, target: str, digits: Path, tmp_path: Path, bitsmith: Run) -> None:
    out = tmp_path / "out"
    said = bitsmith("compile", EXPORTS / f"{name}.onnx", "--target", target, "-o", out, "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)["quantized_by_others"]
    dialect, least = FILES[name]
    assert found["dialect"] == dialect
    assert found["operations_compared"] >= 6
    assert found["largest"] <= 1
    assert found["differing"] <= found["elements"] // 200
    x = samples(name, digits)
    wanted, compiled = answers_of_the_file(name, x), load(out)
    exact, artifact = answers(IntegerModel(compiled), x), answers(BackendModel(compiled), x)
    for made in (exact, artifact):
        assert decibels(float(np.square(wanted).sum()), float(np.square(made - wanted).sum())) > least
        assert np.count_nonzero(made.argmax(axis=1) != wanted.argmax(axis=1)) <= 1
    if target == "host":
        np.testing.assert_array_equal(artifact, exact)
