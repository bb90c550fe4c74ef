"""QONNX's own executor on a written model: reals in and out, integers for whoever compares."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from bitsmith.backend import Arrays
from bitsmith.errors import ArtifactError, TargetError, VerificationError
from bitsmith.ir.integer import IntegerGraph

INSTALL = "pip install 'bitsmith[fpga]'"


def execute(graph: IntegerGraph, model: onnx.ModelProto, inputs: Arrays, wanted: Iterable[str]) -> dict[str, Any]:
    """The integers of the values `wanted`, as qonnx computes them node by node for a batch of integer inputs.

    Raises TargetError where qonnx is not installed, ArtifactError for a model that it cannot run, and VerificationError
    for a result that is not on the grid of its value.
    """
    try:
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx
        from qonnx.transformation.infer_shapes import InferShapes
    except ImportError as fault:
        raise TargetError(f"qonnx is not installed ({fault})", where="backend qonnx", fix=f"Run: {INSTALL}") from fault
    samples = len(inputs[graph.inputs[0]])
    batched = _with_batch(model, samples)
    reals = {
        given.name: graph.values[name].format.dequantize(inputs[name])
        for name, given in zip(graph.inputs, batched.graph.input, strict=True)
    }
    try:
        wrapper = ModelWrapper(batched).transform(InferShapes())
        values = execute_onnx(wrapper, reals, return_full_exec_context=True)
    except Exception as fault:
        raise ArtifactError(f"qonnx cannot run it ({fault})", where="model.qonnx.onnx") from fault
    return {name: integers(graph, name, values[name]) for name in wanted}


def integers(graph: IntegerGraph, name: str, reals: npt.ArrayLike) -> npt.NDArray[np.generic]:
    """The integers that stand for reals on the grid of a value; VerificationError for any beside it."""
    kind = graph.values[name].format
    steps = np.asarray(reals, np.float64) / kind.scale[0]
    if not np.array_equal(steps, np.round(steps)) or (steps.size and np.abs(steps).max() >= 1 << 31):
        raise VerificationError("holds what is not on its grid", where=name)
    if steps.size and not kind.type.lowest <= steps.min() <= steps.max() <= kind.type.highest:
        raise VerificationError(f"holds [{steps.min():g}, {steps.max():g}], beyond {kind.type}", where=name)
    found: npt.NDArray[np.generic] = steps.astype(kind.type.storage).reshape(-1, *graph.values[name].shape)
    return found


def read(path: Path) -> onnx.ModelProto:
    """The model in a file; ArtifactError where there is none."""
    try:
        return onnx.load(os.fspath(path))
    except Exception as fault:
        raise ArtifactError(f"cannot be read ({fault})", where=str(path), fix="Compile the model again.") from fault


def _with_batch(model: onnx.ModelProto, samples: int) -> onnx.ModelProto:
    """The model for so many samples: qonnx asks for shapes that are settled."""
    batched = onnx.ModelProto()
    batched.CopyFrom(model)
    del batched.graph.value_info[:]
    for tensor in [*batched.graph.input, *batched.graph.output]:
        tensor.type.tensor_type.shape.dim[0].dim_value = samples
    return batched
