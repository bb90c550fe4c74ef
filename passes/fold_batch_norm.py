"""Fold a BatchNormalization into the linear op on either side of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bitsmith.ir.graph import Graph, Node
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.affine import LINEAR, Affine, affine_of, fold_after, fold_before


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Fold y = gamma * (x - mean) / sqrt(variance + epsilon) + beta into a Conv, ConvTranspose, Gemm or MatMul.

    With k = gamma / sqrt(variance + epsilon) and s = beta - k * mean per channel (Jacob et al. 2018, eq. 14):
    into the op that makes x, W' = k * W and b' = k * b + s; else into the op that alone reads y,
    W' = W * k over its input channels and b' = b + W s, which padding with zeros forbids where s is not 0.
    """

    name: ClassVar[str] = "fold-batch-norm"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        for norm in module.graph.nodes("BatchNormalization"):
            affine = affine_of(norm)
            reason = affine if isinstance(affine, str) else fold(module.graph, norm, affine)
            if reason is None:
                changes.change(norm)
            else:
                changes.refuse(norm, reason)
        return changes


def fold(graph: Graph, node: Node, affine: Affine) -> str | None:
    """Fold `node`, which computes `affine`, backward or else forward, and remove it; the reason if neither can be."""
    backward = _fold_backward(graph, node, affine)
    if backward is None:
        return None
    forward = _fold_forward(graph, node, affine)
    return None if forward is None else f"{backward}; {forward}"


def _fold_backward(graph: Graph, node: Node, affine: Affine) -> str | None:
    value = affine.value
    producer = value.producer
    if producer is None or producer.op not in LINEAR:
        return f"{value.name} is not made by a {' or '.join(LINEAR)}"
    if value.is_shared:
        return f"{value.name} is used elsewhere too"
    reason = fold_after(producer, affine)
    if reason is None:
        graph.replace(node.output, value)
        graph.remove(node)
    return reason


def _fold_forward(graph: Graph, node: Node, affine: Affine) -> str | None:
    made = node.output
    if made.is_output:
        return f"{made.name} is an output of the graph"
    if len(made.consumers) != 1:
        return f"{made.name} is used more than once"
    (consumer,) = made.consumers
    if consumer.op not in LINEAR or consumer.operand(0) != made:
        return f"{made.name} does not go into a {' or '.join(LINEAR)}"
    reason = fold_before(affine, consumer)
    if reason is None:
        graph.replace(made, affine.value)
        graph.remove(node)
    return reason
