"""From an integer graph to the QDQ model: float in, float out, integers between."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from bitsmith.backends.onnxruntime.lower import lower
from bitsmith.backends.onnxruntime.writer import Writer, is_wide
from bitsmith.ir.integer import IntegerGraph

FILE = "model.qdq.onnx"


def build_model(graph: IntegerGraph) -> onnx.ModelProto:
    """The QDQ model of `graph`, with the names of its inputs and outputs.

    Each value is rounded to the grid of its own format by the same scale and zero point that the integer graph
    stands on; between two roundings stand the float ops that ORT has integer kernels for. What is left to the
    host (a Softmax) is appended in float.
    """
    return _written(graph).model()


def build_traced_model(graph: IntegerGraph) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The same model with the integers of every operation's result as an output too; and their names by value.

    ORT fuses the same ops: what rounds at the end of a fused op is such a tensor.
    """
    writer = _written(graph)
    model = writer.model()
    tensors = {operation.output: writer.integers(operation.output) for operation in graph}
    kinds = {
        tensor: TensorProto.UINT16 if is_wide(graph.values[value]) else TensorProto.UINT8
        for value, tensor in tensors.items()
    }
    model.graph.output.extend(helper.make_tensor_value_info(tensor, kind, None) for tensor, kind in kinds.items())
    return model, tensors


def _written(graph: IntegerGraph) -> Writer:
    writer = Writer(graph)
    for name in graph.inputs:
        writer.quantize(name, name)
    for operation in graph:
        lower(writer, operation)
    for name in graph.outputs:
        steps = [step for step in graph.host if step.output == name]
        # An output has a DequantizeLinear of its own: ORT fuses none that the outside can see.
        tensor = writer.dequantize(name, None if steps else name)
        for position, step in enumerate(steps, start=1):
            made = name if position == len(steps) else None
            tensor = writer.node(step.op, [tensor], f"{name}_{step.op}", made, **dict(step.attributes))
    return writer


def serialize(model: onnx.ModelProto) -> bytes:
    """The same bytes for the same model."""
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized
