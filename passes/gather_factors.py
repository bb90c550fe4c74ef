"""Numbers that scale a product of two values, or one of its operands, gathered into one behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.ir.fusion import factor_of, is_product
from bitsmith.ir.graph import Graph, Node
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.affine import Affine, affine_of


@dataclass(frozen=True)
class GatherFactors(Pass):
    """MatMul(r * A, s * B) * t = (r * s * t) * MatMul(A, B), for positive numbers r, s and t.

    Attention scales its scores by 1 / sqrt(width): before the product, after it, or half on either side. Behind the
    product, and in one Mul, it is part of the ratio by which the accumulator is requantized, and costs nothing.
    """

    name: ClassVar[str] = "gather-factors"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        for product in filter(is_product, module.graph.nodes("MatMul")):
            if _gather(module.graph, product):
                changes.change(product)
        module.graph.prune()
        return changes


def _gather(graph: Graph, product: Node) -> bool:
    factor, before = 1.0, factor_of(product)
    scalings = 0
    for index in (0, 1):
        while (scaling := _scaling(product.operand(index).producer)) is not None:
            if product.operand(index).is_output or set(product.operand(index).consumers) != {product}:
                break
            factor *= float(scaling.scale[0])
            product.set_input(index, scaling.value)
            scalings += 1
    made = product.output
    while not made.is_shared and made.consumers and (scaling := _scaling(made.consumers[0])) is not None:
        factor *= float(scaling.scale[0])
        made = made.consumers[0].output
        scalings += 1
    if scalings == 0 or (scalings == 1 and before is not None and made == before.output):
        return False
    scaled = graph.add_node(
        "Mul",
        [product.output, graph.add_constant(f"{product.name}.factor", np.full((), factor, np.float32))],
        f"{product.name}.scaled",
        product.output.shape,
    )
    graph.replace(made, scaled.output)
    scaled.set_input(0, product.output)
    return True


def _scaling(node: Node | None) -> Affine | None:
    """A Mul or Div by one positive number."""
    if node is None or node.op not in ("Mul", "Div"):
        return None
    affine = affine_of(node)
    if not isinstance(affine, Affine) or affine.scale.size != 1 or not 0 < affine.scale[0] < np.inf:
        return None
    return affine
