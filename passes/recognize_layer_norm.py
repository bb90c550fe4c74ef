"""A layer normalisation by name, where an exporter wrote it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module


@dataclass(frozen=True)
class RecognizeLayerNorm(Pass):
    """(x - mean x) / sqrt(mean (x - mean x)^2 + epsilon) * gain + offset = LayerNormalization(x, gain, offset).

    Means are ReduceMeans over the last axis, squares Pow or Mul. Gain and offset, one number per feature or one for
    all, may be missing. (Ba, Kiros and Hinton 2016, arXiv:1607.06450, equation 4. ONNX has the op since opset 17;
    what was exported before has eight or nine nodes.)
    """

    name: ClassVar[str] = "recognize-layer-norm"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        graph = module.graph
        for root in graph.nodes("Sqrt"):
            squares = _mean_square(root)
            if squares is None:
                continue
            found = _found(root, *squares)
            if isinstance(found, str):
                changes.refuse(root, found)
            else:
                changes.change(_named(graph, root, found))
        graph.prune()
        return changes


@dataclass(frozen=True, eq=False)
class _Norm:
    value: Value
    epsilon: float
    quotient: Node


def _mean_square(root: Node) -> tuple[Node, float] | None:
    """The ReduceMean and the number whose sum a Sqrt is of, if it is of such."""
    total = root.operand(0).producer
    if total is None or total.op != "Add" or len(total.inputs) != 2:
        return None
    for mean, added in ((total.operand(0), total.operand(1)), (total.operand(1), total.operand(0))):
        if mean.producer is not None and mean.producer.op == "ReduceMean":
            held = added.constant
            return None if held is None or held.size != 1 else (mean.producer, float(held.item()))
    return None


def _found(root: Node, mean: Node, epsilon: float) -> _Norm | str:
    """What a root of a mean square normalises, or why it normalises no row."""
    if epsilon <= 0:
        return f"its epsilon is {epsilon:g}, not above 0"
    squared = _square(mean.operand(0))
    if squared is None:
        return f"{mean.operand(0).name} is not a square"
    value = _off_the_mean(squared)
    if value is None:
        return f"{squared.name} is not a value less its mean over the last axis"
    if not _is_over_rows(mean):
        return f"{mean.where} is not over the last axis alone, or drops it"
    readers = root.output.consumers
    if root.output.is_shared or not readers or readers[0].op != "Div" or readers[0].operand(1) != root.output:
        return "something else than one Div reads it"
    if _off_the_mean(readers[0].operand(0)) != value:
        return f"{readers[0].where} does not divide {value.name} less its mean"
    return _Norm(value, epsilon, readers[0])


def _square(value: Value) -> Value | None:
    node = value.producer
    if node is None or node.op not in ("Mul", "Pow"):
        return None
    if node.op == "Mul":
        return node.operand(0) if node.operand(0) == node.operand(1) else None
    exponent = node.constant(1)
    return node.operand(0) if exponent is not None and exponent.size == 1 and exponent.item() == 2 else None


def _off_the_mean(value: Value) -> Value | None:
    """x where a value is x less its mean over the last axis."""
    node = value.producer
    if node is None or node.op != "Sub" or node.operand(0).constant is not None:
        return None
    mean = node.operand(1).producer
    is_its = mean is not None and mean.op == "ReduceMean" and mean.operand(0) == node.operand(0)
    return node.operand(0) if is_its and mean is not None and _is_over_rows(mean) else None


def _is_over_rows(mean: Node) -> bool:
    """Whether a ReduceMean is over the last axis alone, and keeps it."""
    axes, rank = mean.constant(1), mean.operand(0).rank
    if axes is None or not mean.attribute("keepdims", 1) or rank < 2:
        return False
    return [int(axis) % rank for axis in axes.ravel()] == [rank - 1]


def _named(graph: Graph, root: Node, norm: _Norm) -> Node:
    width = norm.value.sample_shape[-1]
    gain, offset, last = np.ones(width, np.float32), np.zeros(width, np.float32), norm.quotient
    gained = _by_feature(last, "Mul")
    if gained is not None:
        last, gain = gained
    moved = _by_feature(last, "Add")
    if moved is not None:
        last, offset = moved
    constants = [graph.add_constant(f"{root.name}.{role}", a) for role, a in (("gain", gain), ("offset", offset))]
    node = graph.add_node(
        "LayerNormalization",
        [norm.value, *constants],
        root.name,
        norm.value.shape,
        axis=-1,
        epsilon=float(norm.epsilon),
    )
    graph.replace(last.output, node.output)
    return node


def _by_feature(node: Node, op: str) -> tuple[Node, npt.NDArray[Any]] | None:
    """The one reader of a node that adds or multiplies by a number per feature, or by one, and these (n,)."""
    readers, shape = node.output.consumers, node.output.shape
    if node.output.is_shared or not readers or readers[0].op != op:
        return None
    held = [value.constant for value in readers[0].inputs if value is not None and value.constant is not None]
    width = node.output.sample_shape[-1]
    if len(held) != 1 or readers[0].output.shape != shape:
        return None
    if held[0].size != 1 and (held[0].size != width or held[0].shape[-1] != width):
        return None
    return readers[0], np.broadcast_to(held[0].ravel(), width).astype(np.float32)
