"""Flatten, Squeeze, Unsqueeze and every Reshape as one form of Reshape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.ir.graph import Node
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module


@dataclass(frozen=True)
class LowerReshapes(Pass):
    """Turn Flatten, Squeeze, Unsqueeze and Reshape into Reshape with the constant target [0, *sample].

    All four keep the elements in their order and only cut them differently. Where the first dimension of input
    and output is the batch, each sample keeps its elements, so the target is the shape of one sample after a 0,
    which copies the batch. How a graph computed its target no longer matters: those nodes are removed.
    """

    name: ClassVar[str] = "lower-reshapes"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        for node in module.graph.nodes("Flatten", "Reshape", "Squeeze", "Unsqueeze"):
            reason = _refusal(node)
            if reason is not None:
                changes.refuse(node, reason)
                continue
            target = np.array([0, *node.output.sample_shape], np.int64)
            held = node.constant(1)
            if held is not None and node.op == "Reshape" and not node.attributes and np.array_equal(held, target):
                continue
            node.op = "Reshape"
            node.drop_attributes("allowzero", "axis")
            node.set_constant(1, "shape", target)
            changes.change(node)
        module.graph.prune()
        return changes


def _refusal(node: Node) -> str | None:
    value = node.operand(0)
    if value.constant is not None:
        return f"{value.name} is constant: fold-constants removes it"
    for one in (value, node.output):
        if one.rank == 0 or one.shape[0] is not None:
            return f"the first dimension of {one.name} is not the batch"
    return None
