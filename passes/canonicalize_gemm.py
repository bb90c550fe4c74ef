"""One form for every op with a weight: constants folded in, weight (out, in, ...), bias (out,) always there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.ir.fusion import is_product
from bitsmith.ir.graph import Node
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module


@dataclass(frozen=True)
class CanonicalizeGemm(Pass):
    """Bring Gemm, MatMul and Conv to the one form that later passes know.

    alpha * x B + beta * C  becomes  x W^T + b  with  W = alpha * B^T of shape (out, in) and b = beta * C of
    shape (out,); a MatMul of a rank-2 value by a constant is that without C. A Conv without bias gets one of 0.
    """

    name: ClassVar[str] = "canonicalize-gemm"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        for node in module.graph.nodes("Conv", "ConvTranspose", "Gemm", "MatMul"):
            if is_canonical(node) or is_product(node):
                continue
            reason = canonicalize(node)
            if reason is None:
                changes.change(node)
            else:
                changes.refuse(node, reason)
        return changes


def is_canonical(node: Node) -> bool:
    """Whether a Conv, ConvTranspose or Gemm has the form that `canonicalize` gives, or a MatMul keeps its own."""
    weight, bias = node.constant(1), node.constant(2)
    if weight is None:
        return False
    if node.op == "MatMul":
        return weight.ndim == 2 and node.operand(0).rank > 2
    if bias is None or bias.shape != (output_channels(node),):
        return False
    return node.op != "Gemm" or node.attributes == {"transB": 1}


def output_channels(node: Node) -> int:
    """How many channels the output of an op with a weight has."""
    return node.output.sample_shape[-1 if node.op in ("Gemm", "MatMul") else 0]


def canonicalize(node: Node) -> str | None:
    """Bring one node to canonical form; the reason if that cannot be done, and then nothing is changed."""
    weight = node.constant(1)
    if weight is None:
        return f"its weight {node.operand(1).name} is not constant"
    if node.op == "MatMul":
        return _from_matmul(node)
    bias = node.input(2)
    if bias is not None and bias.constant is None:
        return f"its bias {bias.name} is not constant"
    channels = output_channels(node)
    array = np.zeros(channels, np.float32) if bias is None else bias.constant
    assert array is not None
    if node.op == "Gemm":
        if node.attribute("transA", 0):
            return f"it transposes {node.operand(0).name}, whose first dimension is the batch"
        if array.ndim == 2 and array.shape[0] != 1:
            return "its bias differs from sample to sample"
        array = float(node.attribute("beta", 1.0)) * array.astype(np.float64)
        array = np.broadcast_to(array.reshape(-1), channels)
        matrix, alpha = weight if node.attribute("transB", 0) else weight.T, float(node.attribute("alpha", 1.0))
        # What needs no factor is not copied through float64, nor at all if it stands as it should.
        node.operand(1).constant = matrix if alpha == 1 else (alpha * matrix.astype(np.float64)).astype(np.float32)
        node.drop_attributes("alpha", "beta", "transA")
        node.set_attributes(transB=1)
    vector = array.astype(np.float32)
    node.set_constant(2, "bias", vector)
    return None


def _from_matmul(node: Node) -> str | None:
    """Turn a MatMul of a rank-2 value by a matrix into a Gemm; one of higher rank stays a MatMul."""
    value, weight = node.operand(0), node.operand(1)
    matrix = weight.array
    if value.constant is not None:
        return f"its left operand {value.name} is constant"
    if matrix.ndim != 2:
        return f"its weight {weight.name} has rank {matrix.ndim}, not 2"
    if value.rank != 2:
        return None
    node.op = "Gemm"
    node.set_attributes(transB=1)
    weight.constant = matrix.T
    node.set_constant(2, "bias", np.zeros(matrix.shape[1], np.float32))
    return None
