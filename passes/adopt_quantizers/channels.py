"""Activations with a scale per channel, as NNCF gives them in front of depthwise convolutions, brought to one scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bitsmith.errors import UnsupportedError
from bitsmith.faults import Faults
from bitsmith.ir.formats import Format
from bitsmith.ir.graph import Graph, Node
from bitsmith.ir.quantizers import QUANTIZER, Quantizer

Reals = npt.NDArray[np.float64]


def share_scales(graph: Graph, quantizers: dict[str, Quantizer], faults: Faults) -> None:
    """Let every activation have one scale; the factors between go into the layers on both sides.

    With scales s_c and s the largest of them, round(x_c / s_c) = round((k_c x_c) / s) with k_c = s / s_c: the layer in
    front makes k_c x_c of its outputs, as Relu lets pass, and the depthwise one behind divides its weights by it. Each
    only changes the scale of a channel's weights, and no integer. Where it does not go like that is a fault.
    """
    for node in graph.nodes(QUANTIZER):
        quantizer = quantizers[node.name]
        if quantizer.format.axis is None:
            continue
        reason = _share(graph, node, quantizer.format)
        if reason is not None:
            faults.add(
                UnsupportedError(
                    f"a scale per channel for the activation {node.operand(0).name}, and {reason}",
                    where=node.where,
                    fix="Quantize activations per tensor; only weights may have a scale per channel.",
                )
            )
        kept = quantizer.format
        quantizers[node.name] = replace(quantizer, format=Format(kept.type, (max(kept.scale),), kept.zero_point))


def _share(graph: Graph, node: Node, format: Format) -> str | None:
    """Move the factors; or why they cannot be, and then nothing is changed."""
    value = node.operand(0)
    clamp = value.producer if value.producer is not None and value.producer.op in ("Relu", "Clip") else None
    maker = (value if clamp is None else clamp.operand(0)).producer
    if maker is None or maker.op not in ("Conv", "Gemm") or maker.constant(1) is None or maker.constant(2) is None:
        return "no layer makes it that could take the factors"
    if value.is_shared or maker.output.is_shared:
        return "others read it too"
    if format.axis != 1 or len(format.scale) != value.sample_shape[0]:
        return f"channels are axis 1, not {format.axis}"
    highest = None if clamp is None or clamp.op == "Relu" else clamp.constant(2)
    lowest = None if clamp is None or clamp.op == "Relu" else clamp.constant(1)
    if lowest is not None and lowest.item() != 0:
        return "it is clamped elsewhere than at 0"
    if node.output.is_output or not all(_is_depthwise(reader, node) for reader in node.output.consumers):
        return "not depthwise convolutions alone read it"
    factors = max(format.scale) / np.array(format.scale)
    _scale(maker, 1, factors)
    _scale(maker, 2, factors)
    for reader in node.output.consumers:
        outputs = reader.output.sample_shape[0]
        _scale(reader, 1, 1 / np.repeat(factors, outputs // len(factors)))
    if clamp is not None and highest is not None:
        caps = (float(highest.item()) * factors).astype(np.float32).reshape(1, -1, *[1] * (value.rank - 2))
        while len(clamp.inputs) > 1:
            clamp.drop_input()
        clamp.op = "Relu"
        capped = graph.add_node("Min", [value, graph.add_constant(f"{value.name}.caps", caps)], value.name, value.shape)
        node.set_input(0, capped.output)
    return None


def _is_depthwise(reader: Node, node: Node) -> bool:
    weight = reader.constant(1)
    is_data = reader.input(0) == node.output
    return reader.op == "Conv" and is_data and weight is not None and weight.shape[1] == 1


def _scale(node: Node, index: int, factors: Reals) -> None:
    """Multiply the weights or the bias of each output by a factor of its own."""
    array = node.array(index)
    along = factors.reshape(-1, *[1] * (array.ndim - 1))
    node.operand(index).constant = (array.astype(np.float64) * along).astype(np.float32)
