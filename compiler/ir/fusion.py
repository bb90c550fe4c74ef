"""Which float nodes become one integer operation: a linear op, its bias, and the clamp that follows it.

The one rule that calibration, planning and lowering share: what is fused away never exists as an integer
tensor, so it needs no statistics and no format.
"""

from __future__ import annotations

import math

from bitsmith.ir.graph import Graph, Node, Value

REQUANTIZING = frozenset({"Add", "AveragePool", "Conv", "Gemm", "GlobalAveragePool", "MatMul", "Mul", "Sub"})
"""Ops whose integer form ends in a requantize step, in which a clamp costs nothing."""

CLAMPS = frozenset({"Clip", "Relu"})


def bias_of(node: Node) -> Node | None:
    """The Add of a constant vector over the last axis that follows a MatMul and nothing else reads, if any."""
    follower = _only_reader(node) if node.op == "MatMul" else None
    if follower is None or follower.op != "Add":
        return None
    added = [operand.constant for operand in follower.inputs if operand is not None and operand.constant is not None]
    width = node.output.shape[-1]
    return follower if len(added) == 1 and added[0].size == width and added[0].shape[-1:] in ((), (width,)) else None


def fused_activation(node: Node) -> Node | None:
    """The Relu or Clip that rides in this node's requantize step, if any: its only reader, with constant bounds."""
    if node.op not in REQUANTIZING:
        return None
    follower = _only_reader(bias_of(node) or node)
    if follower is None or follower.op not in CLAMPS:
        return None
    bounds = [operand for operand in follower.inputs[1:] if operand is not None]
    return follower if all(bound.constant is not None for bound in bounds) else None


def group_output(node: Node) -> Value:
    """What a node makes once its bias and its activation have ridden along."""
    return (fused_activation(node) or bias_of(node) or node).output


def clamp_of(node: Node) -> tuple[float, float]:
    """The real interval that the fused activation clamps to; infinite where there is none."""
    activation = fused_activation(node)
    if activation is None:
        return -math.inf, math.inf
    if activation.op == "Relu":
        return 0.0, math.inf
    lowest, highest = activation.constant(1), activation.constant(2)
    return (
        -math.inf if lowest is None else float(lowest.item()),
        math.inf if highest is None else float(highest.item()),
    )


def riders(graph: Graph) -> set[Node]:
    """The nodes that ride in another node's operation and become none of their own."""
    riding = {bias for node in graph.nodes("MatMul") if (bias := bias_of(node)) is not None}
    leaders = [node for node in graph.nodes(*REQUANTIZING) if node not in riding]
    return riding | {rider for node in leaders if (rider := fused_activation(node)) is not None}


def materialised(graph: Graph) -> list[Value]:
    """The activations that exist as integer tensors: graph inputs, then results of groups in execution order.

    A Softmax that makes a graph output is left to the host: its result is not among them.
    """
    riding = riders(graph)
    leaders = [node for node in graph.nodes() if node not in riding and node.op != "Softmax"]
    return [*graph.inputs, *(group_output(node) for node in leaders)]


def _only_reader(node: Node) -> Node | None:
    output = node.output
    consumers = output.consumers
    return consumers[0] if len(consumers) == 1 and not output.is_shared else None
