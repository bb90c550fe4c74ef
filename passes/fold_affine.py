"""Fold an Add, Sub, Mul or Div by constants into the linear op on either side of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.ir.fusion import factor_of
from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.affine import ELEMENTWISE, Affine, affine_of, bias_add, fold_after
from bitsmith.passes.fold_batch_norm import fold


@dataclass(frozen=True)
class FoldAffine(Pass):
    """Fold y = scale * x + shift, one number or one per channel, into a Conv, ConvTranspose, Gemm or MatMul.

    The algebra is that of fold-batch-norm. A MatMul of rank above 2 keeps its bias in the Add that follows it, so
    scale * (W x + b) + shift = (scale * W) x + (scale * b + shift) changes both. What cannot be folded becomes the
    simpler of two forms: x - c is x + (-c), and x / c is x * (1 / c).
    """

    name: ClassVar[str] = "fold-affine"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        graph = module.graph
        for node in graph.nodes(*ELEMENTWISE):
            if _constant_operand(node) is None or _is_bias(node) or _is_factor(node):
                continue
            affine = affine_of(node)
            reason = affine if isinstance(affine, str) else _fold(graph, node, affine)
            if reason is None:
                changes.change(node)
                continue
            changes.refuse(node, reason)
            if _simplify(node):
                changes.change(node)
        return changes


def _fold(graph: Graph, node: Node, affine: Affine) -> str | None:
    bias = affine.value.producer
    if bias is not None and _is_bias(bias) and not affine.value.is_shared and affine.fits(affine.value.rank - 1):
        return _fold_past_bias(graph, node, affine, bias)
    return fold(graph, node, affine)


def _fold_past_bias(graph: Graph, node: Node, affine: Affine, bias: Node) -> str | None:
    """Fold an affine of MatMul + bias into both."""
    own = affine_of(bias)
    assert isinstance(own, Affine)
    matmul = own.value.producer
    assert matmul is not None
    spread = affine.along(affine.value.rank - 1)
    scale = Affine(own.value, spread.scale, np.zeros_like(spread.scale), spread.axis)
    reason = fold_after(matmul, scale)
    if reason is not None:
        return reason
    constant = _constant_operand(bias)
    assert constant is not None
    constant.constant = (spread.scale * own.along(own.value.rank - 1).shift + spread.shift).astype(np.float32)
    graph.replace(node.output, bias.output)
    graph.remove(node)
    return None


def _is_bias(node: Node) -> bool:
    """Whether a node is the bias of a MatMul, which stays an Add."""
    if node.op != "Add":
        return False
    value = next((v for v in node.inputs if v is not None and v.constant is None), None)
    producer = None if value is None else value.producer
    return producer is not None and bias_add(producer) == node


def _is_factor(node: Node) -> bool:
    """Whether a node scales a product of two values, in whose requantize step it rides."""
    producers = [value.producer for value in node.inputs if value is not None]
    return any(producer is not None and factor_of(producer) == node for producer in producers)


def _constant_operand(node: Node) -> Value | None:
    return next((value for value in node.inputs if value is not None and value.constant is not None), None)


def _simplify(node: Node) -> bool:
    """Turn a Sub or Div by a constant on the right into an Add or Mul; whether it did."""
    array = node.constant(1)
    if node.op not in ("Sub", "Div") or array is None or node.constant(0) is not None:
        return False
    if node.op == "Div":
        with np.errstate(divide="ignore", over="ignore"):
            inverse = (1 / array.astype(np.float64)).astype(np.float32)
        if not np.isfinite(inverse).all():
            return False
        node.op, node.operand(1).constant = "Mul", inverse
    else:
        node.op, node.operand(1).constant = "Add", -array
    return True
