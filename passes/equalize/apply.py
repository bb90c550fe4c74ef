"""Write scales per channel into the weights, biases and clamps of a graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.passes.equalize.channels import Indices, Linear
from bitsmith.passes.equalize.solve import Vector

Array = npt.NDArray[np.float32]


def rescaled(linear: Linear, scale: Vector) -> tuple[Array, Array | None] | None:
    """Weight * s of what it reads / s of what it makes, and bias / s; None where float32 cannot hold them."""
    weight, bias = linear.node.operand(1).array, linear.node.constant(2)
    made, read = scale[linear.makes], scale[linear.reads].reshape(-1, weight.shape[1])
    by_row = np.repeat(read, len(weight) // len(read), axis=0) / made[:, None]
    with np.errstate(over="ignore"):
        scaled = (weight * by_row.reshape(*by_row.shape, *[1] * (weight.ndim - 2))).astype(np.float32)
        shifted = None if bias is None else (bias / made).astype(np.float32)
    finite = np.isfinite(scaled).all() and (shifted is None or np.isfinite(shifted).all())
    return (scaled, shifted) if finite else None


def store(linear: Linear, weight: Array, bias: Array | None) -> None:
    """Give a linear op the weight and bias that `rescaled` made."""
    linear.node.operand(1).constant = weight
    if bias is not None:
        linear.node.operand(2).constant = bias


def rescale_clamps(graph: Graph, channels: Mapping[Value, Indices], scale: Vector) -> list[Node]:
    """Divide the upper bounds of clamps by their channels' scales; returns the Clips that became Relu and Min.

    min(max(x, 0), c) / s = min(max(x / s, 0), c / s), exactly: ReLU6 needs no approximation by Relu.
    """
    split = []
    for node in graph.nodes("Clip", "Min"):
        if node.output not in channels or np.all(scale[channels[node.output]] == 1):
            continue
        caps = upper_bounds(node) / scale[channels[node.output]]
        if node.op == "Clip":
            split.append(node)
        set_upper_bounds(graph, node, caps)
    return split


def upper_bounds(node: Node) -> Vector:
    """Of a Clip or a Min per channel: float64, one, or one a channel."""
    bound = node.constant(2 if node.op == "Clip" else 1)
    assert bound is not None
    return bound.reshape(-1).astype(np.float64)


def set_upper_bounds(graph: Graph, node: Node, caps: Vector) -> None:
    """Give a Min per channel other bounds, (channels,), or make a Clip from 0 a Relu and a Min with these."""
    array = caps.astype(np.float32).reshape(1, -1, *[1] * (node.output.rank - 2))
    if node.op == "Min":
        node.operand(1).constant = array
        return
    while len(node.inputs) > 1:
        node.drop_input()
    node.op = "Relu"
    held = graph.add_constant(f"{node.name}.caps", array)
    capped = graph.add_node("Min", [node.output, held], f"{node.name}.capped", node.output.shape)
    graph.replace(node.output, capped.output)
    capped.set_input(0, node.output)
