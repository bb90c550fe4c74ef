"""A quantized model as ONNX Runtime runs it: QONNX's nodes spelled out in standard ops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from bitsmith.errors import ModelError
from bitsmith.importing.draft import array_of
from bitsmith.importing.quantized import qonnx
from bitsmith.importing.quantized.reader import attribute
from bitsmith.importing.screen import node_label


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
            continue
        if len(node.input) != (2 if node.op_type == "BipolarQuant" else 4) or len(node.output) != 1:
            raise ModelError(
                f"has {len(node.input)} operands and {len(node.output)} results",
                where=node_label(node),
                fix="Export the model again.",
            )
        if node.op_type == "BipolarQuant":
            written.graph.node.extend(_bipolar(node, written))
        else:
            written.graph.node.extend(_quant(node, _bits(node, constants), written))
    kept = [entry for entry in written.opset_import if entry.domain not in qonnx.DOMAINS]
    del written.opset_import[:]
    written.opset_import.extend(kept)
    return written


def _bits(node: NodeProto, constants: Mapping[str, TensorProto]) -> int:
    held = constants.get(node.input[3])
    bits = np.zeros(0) if held is None else array_of(held, node_label(node))
    if bits.size != 1 or not 1 <= bits.item() <= 32:
        raise ModelError(
            "its number of bits is no constant from 1 to 32", where=node_label(node), fix="Export the model again."
        )
    return int(bits.item())


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
