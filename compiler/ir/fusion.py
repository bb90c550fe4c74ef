"""Which float nodes become one integer operation: a linear op, its bias, and the clamps that follow it.

The one rule that calibration, planning and lowering share: what is fused away never exists as an integer
tensor, so it needs no statistics and no format.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bitsmith.ir.graph import Graph, Node, Value

REQUANTIZING = frozenset(
    (
        *("Add", "AveragePool", "Conv", "Gemm", "GlobalAveragePool", "LayerNormalization"),
        *("MatMul", "Mul", "Softmax", "Sub"),
    )
)
"""Ops whose integer form ends in a requantize step, in which a clamp costs nothing."""

CLAMPS = frozenset({"Clip", "Relu"})


def bias_of(node: Node) -> Node | None:
    """The Add of a constant vector over the last axis that follows a MatMul and nothing else reads, if any."""
    follower = _only_reader(node) if node.op == "MatMul" and not is_product(node) else None
    if follower is None or follower.op != "Add":
        return None
    added = [operand.constant for operand in follower.inputs if operand is not None and operand.constant is not None]
    width = node.output.shape[-1]
    return follower if len(added) == 1 and added[0].size == width and added[0].shape[-1:] in ((), (width,)) else None


def factor_of(node: Node) -> Node | None:
    """The Mul by one positive number that follows a MatMul of two values and nothing else reads, if any.

    It is a factor of the ratio by which the product is rescaled anyway: 1 / sqrt(width) in attention.
    """
    follower = _only_reader(node) if is_product(node) else None
    if follower is None or follower.op != "Mul":
        return None
    factor = scalar_of(follower)
    return None if factor is None or not 0 < factor < math.inf else follower


def is_product(node: Node) -> bool:
    """Whether a node is a MatMul of two values, neither of them constant."""
    return node.op == "MatMul" and all(value is not None and value.constant is None for value in node.inputs)


def scalar_of(node: Node) -> float | None:
    """The one number that a Mul multiplies a value of the same shape by, whichever side it stands on."""
    held = [v for v in node.inputs if v is not None and v.constant is not None]
    if len(held) != 1 or held[0].constant is None or held[0].constant.size != 1:
        return None
    return float(held[0].constant.item()) if held[0].rank <= node.output.rank else None


def summed(node: Node) -> Node:
    """The last node of what a node sums up, before any clamp: its bias, or its factor, or itself."""
    return bias_of(node) or factor_of(node) or node


def fused_activation(node: Node) -> Node | None:
    """The Relu or Clip that rides in this node's requantize step, if any: its only reader, with constant bounds."""
    if node.op not in REQUANTIZING:
        return None
    follower = _only_reader(summed(node))
    if follower is None or follower.op not in CLAMPS:
        return None
    bounds = [operand for operand in follower.inputs[1:] if operand is not None]
    return follower if all(bound.constant is not None for bound in bounds) else None


def fused_caps(node: Node) -> Node | None:
    """The Min with one number per channel that rides in this node's requantize step, if any.

    It is the last to ride, behind the activation where there is one. ReLU6 takes this form once its channels are
    scaled apart: ONNX's Clip has one upper bound for all, so a Relu and a Min with a constant of shape
    (1, channels, 1, ...) say it in two nodes that every runtime knows.
    """
    if node.op not in REQUANTIZING or node.op in ("LayerNormalization", "Softmax"):
        return None
    follower = _only_reader(fused_activation(node) or summed(node))
    if follower is None or follower.op != "Min":
        return None
    caps = channel_caps(follower)
    if caps is None or np.any(caps < clamp_of(node)[0]):
        return None
    # Caps count channels along axis 1, a product of rank 3 along its last.
    return follower if node.op != "MatMul" or node.output.rank == 2 else None


def channel_caps(node: Node) -> npt.NDArray[np.float32] | None:
    """The bound per channel that a Min of data with a constant puts on it, (channels,), or None if it is no such Min.

    The constant has the shape (1, channels, 1, ...), leading ones perhaps left out, or (channels,) at rank 2.
    """
    held = node.constant(1)
    if len(node.inputs) != 2 or held is None or node.operand(0).constant is not None:
        return None
    rank, shape = node.output.rank, node.output.shape
    if held.ndim > rank or held.dtype != np.float32:
        return None
    aligned = (1,) * (rank - held.ndim) + held.shape
    return held.ravel() if aligned == (1, shape[1], *[1] * (rank - 2)) else None


def fused_clamps(node: Node) -> tuple[Node, ...]:
    """What of a node's clamps rides in its requantize step, in order: a Relu or Clip, then a Min per channel."""
    return tuple(rider for rider in (fused_activation(node), fused_caps(node)) if rider is not None)


def group_output(node: Node) -> Value:
    """What a node makes once its bias or factor and its activation have ridden along."""
    return (fused_caps(node) or fused_activation(node) or summed(node)).output


def clamp_of(node: Node) -> tuple[float, float]:
    """The real interval that the fused activation clamps to, caps apart; infinite where there is none."""
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


def caps_of(node: Node) -> npt.NDArray[np.float32] | None:
    """The upper bound per channel that rides along, float32 (channels,), or None."""
    rider = fused_caps(node)
    return None if rider is None else channel_caps(rider)


def riders(graph: Graph) -> set[Node]:
    """The nodes that ride in another node's operation and become none of their own."""
    riding = {rider for node in graph.nodes("MatMul") if (rider := summed(node)) != node}
    leaders = [node for node in graph.nodes(*REQUANTIZING) if node not in riding]
    return riding | {rider for node in leaders for rider in fused_clamps(node)}


def is_left_to_host(node: Node) -> bool:
    """Whether a node is a Softmax that makes an output and nothing else: the host does it, in float."""
    return node.op == "Softmax" and node.output.is_output and not node.output.consumers


def before_host(output: Value) -> Value:
    """What stands for a graph output in integers: the input of a Softmax that is left to the host, or itself."""
    maker = output.producer
    return maker.operand(0) if maker is not None and is_left_to_host(maker) else output


def is_attention(node: Node) -> bool:
    """Whether a node is of what attention is made of: a product of two values, a softmax inside the model, a norm."""
    return is_product(node) or node.op == "LayerNormalization" or (node.op == "Softmax" and not is_left_to_host(node))


def materialised(graph: Graph) -> list[Value]:
    """The activations that exist as integer tensors: graph inputs, then results of groups in execution order.

    A Softmax that makes a graph output is left to the host: its result is not among them.
    """
    riding = riders(graph)
    leaders = [node for node in graph.nodes() if node not in riding and not is_left_to_host(node)]
    return [*graph.inputs, *(group_output(node) for node in leaders)]


def _only_reader(node: Node) -> Node | None:
    output = node.output
    consumers = output.consumers
    return consumers[0] if len(consumers) == 1 and not output.is_shared else None
