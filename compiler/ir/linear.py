"""The ops that multiply an activation by a constant weight, and where each keeps its parts."""

from __future__ import annotations

from bitsmith.ir.fusion import bias_of
from bitsmith.ir.graph import Graph, Node, Value

LINEAR = ("Conv", "Gemm", "MatMul")

SMALLEST_CHANNEL = 2.0**-16
"""No channel's weight scale falls further below the layer's largest: channels share one requantize shift, and a
multiplier of 15 bits keeps a large bias over tiny weights exact to a small part of an 8-bit step."""


def linear_nodes(graph: Graph) -> list[Node]:
    """The nodes that multiply an activation by a constant weight, in execution order."""
    return [node for node in graph.nodes(*LINEAR) if weight_value(node).constant is not None]


def weight_value(node: Node) -> Value:
    """The constant that multiplies the activation."""
    return node.operand(1)


def output_axis(node: Node) -> int:
    """The axis of the weight that counts output channels: (out, in, ...) for Conv and Gemm, (in, out) for MatMul."""
    return 1 if node.op == "MatMul" else 0


def bias_value(node: Node) -> Value | None:
    """The constant vector that is added per output channel, if any; a MatMul keeps it in the Add that follows."""
    if node.op != "MatMul":
        return node.input(2)
    add = bias_of(node)
    if add is None:
        return None
    return next(operand for operand in add.inputs if operand is not None and operand.constant is not None)
