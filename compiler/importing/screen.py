"""What no pass could make compilable is refused on arrival: by kind of op, domain, type, or value."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy.typing as npt
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from bitsmith.errors import ModelError, UnsupportedError
from bitsmith.importing.draft import STANDARD, Draft, all_nodes, type_name

LOWEST, HIGHEST = 7, 26
"""The opsets that are read."""

_QUANTIZED = (
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
)
_RECURRENT = ("GRU", "LSTM", "RNN")
_FLOATS = {"float16": "float16", "bfloat16": "bfloat16", "float64": "double"}
_TO_FLOAT32 = "Export the model in float32: model.float() before torch.onnx.export, or an unconverted file."
# Here an infinity means "no bound" or "never wins", which is exact.
_MAY_BE_INFINITE = {("Clip", 1), ("Clip", 2), ("Pad", 2)}
_MULTIPLIED = ("BatchNormalization", "Conv", "ConvTranspose", "Gemm", "LayerNormalization", "MatMul")
HUGE = 1e18
"""From which on the square of a weight is no float32: one bit of an exponent, flipped, is enough."""


def screen_model(model: ModelProto) -> None:
    """Refuse a model for what it contains, before anything is read from it. Raises ModelError.

    Model-local functions are opened by the caller; their domains are allowed here.
    """
    screen_opsets(model)
    screen_nodes(model)
    graph = model.graph
    if not graph.output:
        raise ModelError("the graph has no outputs", where=graph.name or "the model", fix="Export the model again.")
    if not graph.input:
        raise ModelError("the graph has no inputs", where=graph.name or "the model", fix="Export the model again.")
    if graph.sparse_initializer:
        raise UnsupportedError(
            "a sparse weight",
            where=f"initializer {graph.sparse_initializer[0].values.name}",
            fix="Store it as a dense tensor.",
        )
    bodies: list[Iterable[NodeProto]] = [all_nodes(graph), *(function.node for function in model.functions)]
    functions = {(function.domain, function.name) for function in model.functions}
    for body in bodies:
        for node in body:
            if (node.domain, node.op_type) not in functions:
                _screen_node(node)


def screen_opsets(model: ModelProto) -> None:
    """Refuse a model that is too old or too new, or that does not say."""
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD]
    if not versions:
        raise ModelError(
            "the model does not say which opset it uses",
            where=model.graph.name or "the model",
            fix="It may be truncated: copy or export the file again.",
        )
    if not LOWEST <= versions[0] <= HIGHEST:
        raise UnsupportedError(
            f"opset {versions[0]}, outside {LOWEST} to {HIGHEST}",
            where=model.graph.name or "the model",
            fix="Export it at opset 17, or convert it with onnx.version_converter.",
        )


def screen_nodes(model: ModelProto) -> None:
    """Refuse nodes that make nothing, or that refer to attributes of a function, where they are in none."""
    for node in all_nodes(model.graph):
        referring = [one.name for one in node.attribute if one.ref_attr_name]
        if referring or not any(node.output):
            raise ModelError(
                f"its attribute {referring[0]} refers to a function's" if referring else "makes nothing",
                where=node_label(node),
                fix="Export the model again.",
            )


def node_label(node: NodeProto) -> str:
    """How errors call a node, named or not."""
    return f"{node.op_type} {node.name or (node.output[0] if node.output else '')}".strip()


def _screen_node(node: NodeProto) -> None:
    where = node_label(node)
    if node.domain not in STANDARD:
        hint = (
            "The file was saved by ONNX Runtime after its own optimisation: give the model from before."
            if node.domain.startswith("com.microsoft")
            else "Replace it by standard ONNX operators, or export it as a model-local function."
        )
        raise UnsupportedError(f"an op of the domain {node.domain}", where=where, fix=hint)
    if node.op_type in _QUANTIZED:
        raise UnsupportedError(
            "the model is already quantized", where=where, fix="Give the float model it was made from."
        )
    if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute):
        raise UnsupportedError(
            "control flow", where=where, fix="Export with the branch or the loop unrolled for the inputs you use."
        )
    if node.op_type in _RECURRENT:
        raise UnsupportedError("a recurrent op", where=where, fix="Use convolutions over time instead.")
    if node.op_type.startswith(("Sequence", "Optional", "SplitToSequence", "ConcatFromSequence")):
        raise UnsupportedError("a sequence or optional value", where=where, fix="Use tensors throughout.")


def screen_inputs(values: Iterable[ValueInfoProto]) -> None:
    """Refuse graph inputs that are not float32 tensors."""
    for value in values:
        kind = value.type.WhichOneof("value")
        where = f"input {value.name}"
        if kind != "tensor_type":
            found = "no type" if kind is None else f"a {kind.removesuffix('_type')}".replace("_", " ")
            raise UnsupportedError(f"{found}, not a tensor", where=where, fix="Use float32 tensors.")
        if value.type.tensor_type.elem_type != TensorProto.FLOAT:
            name = type_name(value.type.tensor_type.elem_type)
            fix = _TO_FLOAT32 if name in _FLOATS.values() else "Make the model take float32, and convert outside of it."
            raise UnsupportedError(f"of type {name}, not float32", where=where, fix=fix)


def screen_constants(draft: Draft) -> None:
    """Refuse weights that are not float32, not finite, or beyond what can be multiplied in float32.

    A float16 or double constant that only a Cast reads is no weight yet: folding makes it float32.
    """
    for node in draft.graph.node:
        for index, name in enumerate(node.input):
            array = draft.constants.get(name)
            if array is None:
                continue
            if array.dtype.name in _FLOATS and node.op_type != "Cast":
                raise UnsupportedError(
                    f"a weight of type {_FLOATS[array.dtype.name]}, not float32",
                    where=f"initializer {name}, read by {node_label(node)}",
                    fix=_TO_FLOAT32,
                )
            bad = _spoilt(array, node.op_type, index) if array.dtype.kind == "f" and array.size else ""
            if bad:
                raise ModelError(
                    f"contains {bad}",
                    where=f"initializer {name}, read by {node_label(node)}",
                    fix="Repair the weights: training diverged, or the file is damaged.",
                )


def _spoilt(array: npt.NDArray[Any], op: str, index: int) -> str:
    """What makes a constant none to compute with; empty for most."""
    lowest, highest = float(array.min()), float(array.max())
    if math.isnan(lowest):
        return "NaN"
    if math.isinf(lowest) or math.isinf(highest):
        return "" if (op, index) in _MAY_BE_INFINITE else "infinity"
    if op in _MULTIPLIED and max(-lowest, highest) > HUGE:
        return f"{max(lowest, highest, key=abs):.3g}, whose square is no float32"
    return ""
