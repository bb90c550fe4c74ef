"""From a model that others quantized to a float graph, the quantizers in it, and a form of it that runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from onnx import ModelProto

from bitsmith.importing.draft import STANDARD, all_nodes
from bitsmith.importing.load import load_graph
from bitsmith.importing.onnx_file import read_model
from bitsmith.importing.opset import inlined
from bitsmith.importing.quantized import operators, qdq, qonnx
from bitsmith.importing.quantized.reader import Reader
from bitsmith.importing.screen import screen_nodes, screen_opsets
from bitsmith.ir.graph import Graph
from bitsmith.ir.quantizers import QUANTIZER, Quantizers

MICROSOFT = "com.microsoft"

HANDLERS = {
    "Clip": qdq.clip,
    "DequantizeLinear": qdq.dequantize,
    "QuantizeLinear": qdq.quantize,
    **operators.HANDLERS,
    **qonnx.HANDLERS,
}


@dataclass(frozen=True, eq=False)
class Quantized:
    """A model that others quantized.

    graph:      the float graph, where a node of op QUANTIZER stands for each rounding of an activation.
    quantizers: what these nodes and the constants say.
    original:   the file as it is, functions inlined.
    """

    graph: Graph
    quantizers: Quantizers
    original: ModelProto


def is_quantized(source: str | os.PathLike[str] | ModelProto) -> bool:
    """Whether a model has nodes that quantize. Raises ModelError for what is no readable model."""
    model = read_model(source)
    bodies = [list(all_nodes(model.graph)), *(function.node for function in model.functions)]
    ours = {(function.domain, function.name) for function in model.functions}
    return any(_quantizes(node.domain, node.op_type) for body in bodies for node in body if _key(node) not in ours)


def load_quantized(
    source: str | os.PathLike[str] | ModelProto, input_shapes: Mapping[str, tuple[int, ...]] | None = None
) -> Quantized:
    """The model at `source`, which `is_quantized`; see `importing.load.load_graph` for the float graph.

    Raises ModelError and UnsupportedError, which name the node, for scales that are not constant, roundings other than
    to the nearest, scales per channel of activations, asymmetric weights, and the like.
    """
    model = read_model(source)
    screen_opsets(model)
    if model.functions:
        model = inlined(model)
    screen_nodes(model)
    read, quantizers = Reader(model, HANDLERS).read()
    graph = load_graph(read, input_shapes)
    for node in graph.nodes("Identity"):
        if node.name in quantizers.activations:
            node.op = QUANTIZER
    return Quantized(graph, quantizers, model)


def _quantizes(domain: str, op: str) -> bool:
    return op in HANDLERS and op != "Clip" and domain in (*STANDARD, MICROSOFT, *qonnx.DOMAINS)


def _key(node: object) -> tuple[str, str]:
    return node.domain, node.op_type  # type: ignore[attr-defined]
