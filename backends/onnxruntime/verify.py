"""What ONNX Runtime makes of a QDQ model: which kernels it will run, and what they compute."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from bitsmith.backend import Arrays
from bitsmith.backends.onnxruntime.emit import serialize
from bitsmith.backends.onnxruntime.writer import BATCH
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


def session_options() -> onnxruntime.SessionOptions:
    """ORT's defaults, but exact: see `session.x64quantprecision` in the package's docstring."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def session(model: onnx.ModelProto, optimized: Path | None = None) -> onnxruntime.InferenceSession:
    """A session on the processor; `optimized` is where to leave the graph that it runs."""
    options = session_options()
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(serialize(model), options, providers=["CPUExecutionProvider"])


def optimize(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph that ORT runs in place of `model`, at its default level of optimization."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        session(model, path)
        return onnx.load(path)


def float_compute_nodes(model: onnx.ModelProto) -> list[str]:
    """The nodes of a graph, as it stands, that multiply and accumulate in float: `op name`, in order."""
    return [f"{node.op_type} {node.name}" for node in model.graph.node if node.op_type in FLOAT_COMPUTE]


def run_integers(graph: IntegerGraph, model: onnx.ModelProto, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """Run the QDQ model of `graph` on integer inputs; returns its outputs, before any host op, as integers.

    Dequantized integers are on the grid, so quantizing them again gives them back whole at either end.
    """
    reals = {name: graph.values[name].format.dequantize(inputs[name]) for name in graph.inputs}
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    tensors = [_before_host(graph, tapped, name) for name in graph.outputs]
    results = session(tapped).run(tensors, reals)
    return {name: graph.values[name].format.quantize(real) for name, real in zip(graph.outputs, results, strict=True)}


def _before_host(graph: IntegerGraph, model: onnx.ModelProto, output: str) -> str:
    """The float tensor that an output's host ops start from, which is made an output too."""
    producers = {result: node for node in model.graph.node for result in node.output}
    tensor = output
    for step in graph.host:
        if step.output == output:
            tensor = producers[tensor].input[0]
    if tensor != output:
        shape = [BATCH, *graph.values[output].shape]
        model.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, shape))
    return tensor
