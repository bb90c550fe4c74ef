"""What ONNX Runtime makes of a QDQ model: which kernels it will run, and what they compute."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from google.protobuf.message import DecodeError

from bitsmith.backend import Arrays
from bitsmith.backends.onnxruntime.emit import build_traced_model, serialize
from bitsmith.backends.onnxruntime.processor import session_options
from bitsmith.backends.onnxruntime.writer import float_value, offset
from bitsmith.errors import ArtifactError
from bitsmith.execution.runtime import RUNTIME_ERRORS
from bitsmith.ir.integer import IntegerGraph

# Every op of ONNX and of ORT's own domain that multiplies and accumulates in float.
FLOAT_COMPUTE = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "Gemm",
        "MatMul",
        "MatMulBnb4",
        "MatMulFpQ4",
        "MatMulNBits",
        "NhwcFusedConv",
        "TransposeMatMul",
    }
)


def optimize(serialized: bytes) -> onnx.ModelProto:
    """The graph that ORT runs in place of a model, at its default level of optimization."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        options = session_options()
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
        return onnx.load(path)


def float_compute_nodes(model: onnx.ModelProto) -> list[str]:
    """The nodes of a graph, as it stands, that multiply and accumulate in float: `op name`, in order."""
    return [f"{node.op_type} {node.name}" for node in model.graph.node if node.op_type in FLOAT_COMPUTE]


def run_integers(graph: IntegerGraph, serialized: bytes, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """Run the QDQ model of `graph` on integer inputs; returns its outputs, before any host op, as integers.

    Dequantized integers are on the grid, so quantizing them again gives them back whole at either end.
    Raises ArtifactError for what ORT cannot load, or what is not a model of this graph.
    """
    reals = {name: graph.values[name].format.dequantize(inputs[name]) for name in graph.inputs}
    try:
        model, tensors = _before_host(graph, serialized)
        results = _session(model).run(tensors, reals)
    except (DecodeError, KeyError, *RUNTIME_ERRORS) as fault:
        raise ArtifactError(
            f"cannot be run ({str(fault).strip().splitlines()[0]})",
            where=f"the model of {graph.name}",
            fix="Compile the model again.",
        ) from fault
    return {name: graph.values[name].format.quantize(real) for name, real in zip(graph.outputs, results, strict=True)}


def trace_integers(graph: IntegerGraph, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """The result of every operation in the QDQ model of `graph`, by value, as integers of its format."""
    serialized, tensors = _traced(graph)
    reals = {name: graph.values[name].format.dequantize(inputs[name]) for name in graph.inputs}
    session = onnxruntime.InferenceSession(serialized, session_options(), providers=["CPUExecutionProvider"])
    shown = list(dict.fromkeys(tensors.values()))
    held = dict(zip(shown, session.run(shown, reals), strict=True))
    values = {name: graph.values[name] for name in tensors}
    return {
        name: (held[tensors[name]].astype(np.int64) + offset(value)).astype(value.format.type.storage)
        for name, value in values.items()
    }


def _traced(graph: IntegerGraph) -> tuple[bytes, dict[str, str]]:
    """The model to trace as bytes alone: as a message it would hold all weights once more."""
    model, tensors = build_traced_model(graph)
    return serialize(model), tensors


def _before_host(graph: IntegerGraph, serialized: bytes) -> tuple[bytes, list[str]]:
    """The model with the tensors that its host ops start from made outputs too; and, per output, which to take."""
    if not graph.host:
        return serialized, list(graph.outputs)
    model = onnx.load_model_from_string(serialized)
    producers = {result: node for node in model.graph.node for result in node.output}
    tensors = dict(zip(graph.outputs, graph.outputs, strict=True))
    for step in graph.host:
        tensors[step.output] = producers[tensors[step.output]].input[0]
    model.graph.output.extend(float_value(graph, name, tensor) for name, tensor in tensors.items() if name != tensor)
    return model.SerializeToString(deterministic=True), list(tensors.values())


@lru_cache(maxsize=1)
def _session(serialized: bytes) -> onnxruntime.InferenceSession:
    """A session on a model; the last one is kept, since a data set is run batch by batch."""
    return onnxruntime.InferenceSession(serialized, session_options(), providers=["CPUExecutionProvider"])
