"""A quantized model as ONNX Runtime runs it: QONNX's nodes spelled out in standard ops."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from bitsmith.importing.quantized import qonnx
from bitsmith.importing.quantized.reader import attribute


def executable(model: ModelProto) -> ModelProto:
    """The model itself; or one that computes the same, if it has nodes of QONNX.

    Quant is `(clamp(round_half_even(x / scale + zero_point)) - zero_point) * scale`, with bounds from the number of
    bits, which must be a constant; BipolarQuant is `scale` where x is 0 or more, else `-scale`.
    """
    if not any(node.domain in qonnx.DOMAINS for node in model.graph.node):
        return model
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    written = ModelProto()
    written.CopyFrom(model)
    del written.graph.node[:]
    for node in model.graph.node:
        if node.domain not in qonnx.DOMAINS:
            written.graph.node.append(node)
        elif node.op_type == "BipolarQuant":
            written.graph.node.extend(_bipolar(node, written))
        else:
            bits = numpy_helper.to_array(constants[node.input[3]]).item()
            written.graph.node.extend(_quant(node, int(bits), written))
    kept = [entry for entry in written.opset_import if entry.domain not in qonnx.DOMAINS]
    del written.opset_import[:]
    written.opset_import.extend(kept)
    return written


def _constant(model: ModelProto, name: str, number: float) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.array(number, np.float32), name))
    return name


def _quant(node: NodeProto, bits: int, model: ModelProto) -> Iterator[NodeProto]:
    x, scale, zero_point = node.input[:3]
    (y,) = node.output
    signed, narrow = bool(attribute(node, "signed", 1)), bool(attribute(node, "narrow", 0))
    lowest = -(2 ** (bits - 1)) + narrow if signed else 0
    highest = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    low, high = _constant(model, f"{y}.low", lowest), _constant(model, f"{y}.high", highest)
    steps = [f"{y}.step{index}" for index in range(6)]
    yield helper.make_node("Div", [x, scale], [steps[0]])
    yield helper.make_node("Add", [steps[0], zero_point], [steps[1]])
    yield helper.make_node("Round", [steps[1]], [steps[2]])
    yield helper.make_node("Max", [steps[2], low], [steps[3]])
    yield helper.make_node("Min", [steps[3], high], [steps[4]])
    yield helper.make_node("Sub", [steps[4], zero_point], [steps[5]])
    yield helper.make_node("Mul", [steps[5], scale], [y])


def _bipolar(node: NodeProto, model: ModelProto) -> Iterator[NodeProto]:
    x, scale = node.input[:2]
    (y,) = node.output
    zero, negative = _constant(model, f"{y}.zero", 0.0), f"{y}.negative"
    yield helper.make_node("Less", [x, zero], [negative])
    yield helper.make_node("Neg", [scale], [f"{y}.minus"])
    yield helper.make_node("Where", [negative, f"{y}.minus", scale], [y])
