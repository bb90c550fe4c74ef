"""Remove what gives back what it was given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.ir.graph import Graph, Node
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.affine import Affine, affine_of

_WIDEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class RemoveNoOps(Pass):
    """Remove every node whose output equals its first input, and join Transposes and Reshapes that follow each other.

    Transpose by q after Transpose by p is Transpose by p[q]; where that is the identity, both go. A Reshape of a
    Reshape reads what the first one read.
    """

    name: ClassVar[str] = "remove-no-ops"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        graph = module.graph
        for node in graph.nodes("Transpose", "Reshape"):
            _join(graph, node, changes)
        for node in graph.nodes():
            if node.op not in _NO_OPS or not _NO_OPS[node.op](node):
                continue
            reason = _why_needed(node)
            if reason is None:
                _bypass(graph, node)
                changes.change(node)
            else:
                changes.refuse(node, reason)
        graph.prune()
        return changes


def _bypass(graph: Graph, node: Node) -> None:
    kept = next(value for value in node.inputs if value is not None and value.constant is None)
    graph.replace(node.output, kept)
    graph.remove(node)


def _why_needed(node: Node) -> str | None:
    """Why a node that changes nothing must stay."""
    if len(node.outputs) > 1:
        return f"its output {node.outputs[1].name} is used"
    kept = next((value for value in node.inputs if value is not None and value.constant is None), None)
    if kept is None:
        return "its input is constant: fold-constants removes it"
    if node.output.is_output and (kept.is_input or kept.is_output):
        return f"it gives {kept.name} a second name, {node.output.name}, which is an output of the graph"
    return None


def _join(graph: Graph, node: Node, changes: Changes) -> None:
    first = node.operand(0).producer
    if first is None or first.op != node.op:
        return
    if node.op == "Reshape" and not _keeps_only_batch(node):
        return
    if node.operand(0).is_shared:
        changes.refuse(node, f"{node.operand(0).name} is used elsewhere too")
        return
    if node.op == "Transpose":
        inner, outer = _permutation(first), _permutation(node)
        node.set_attributes(perm=[inner[axis] for axis in outer])
    node.set_input(0, first.operand(0))
    graph.remove(first)
    changes.change(node)


def _keeps_only_batch(node: Node) -> bool:
    """Whether a Reshape's target says nothing about its input's dimensions but the batch."""
    target = node.constant(1)
    return target is not None and target.size > 0 and not np.any(target[1:] == 0)


def _permutation(node: Node) -> list[int]:
    return [int(axis) for axis in node.attribute("perm", list(range(node.output.rank))[::-1])]


def _same_shape(node: Node) -> bool:
    return node.operand(0).shape == node.output.shape


def _is_idle_dropout(node: Node) -> bool:
    training = node.input(2)
    return training is None or (training.constant is not None and not training.constant.any())


def _is_whole_slice(node: Node) -> bool:
    """Same shape and, along each sliced axis, forward from the front; along the batch, to the end."""
    starts, ends, axes, steps = (node.constant(index) for index in range(1, 5))
    if starts is None or ends is None or not _same_shape(node):
        return False
    axes = np.arange(starts.size) if axes is None else axes % node.output.rank
    steps = np.ones_like(starts) if steps is None else steps
    to_the_end = (axes != 0) | (ends >= 2**31 - 1)
    return bool(np.all(steps == 1) and np.all(to_the_end) and np.all(starts[axes == 0] == 0))


def _is_same_size_resize(node: Node) -> bool:
    scales = node.constant(2)
    if scales is not None and scales.size and not np.all(scales == 1):
        return False
    crops = node.attribute("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    return _same_shape(node) and not crops and node.attribute("mode", "nearest") in ("nearest", "linear")


def _is_wide_clip(node: Node) -> bool:
    for index, sign in ((1, -1.0), (2, 1.0)):
        bound = node.input(index)
        if bound is not None and (bound.constant is None or float(bound.constant.item()) * sign < _WIDEST):
            return False
    return True


def _is_unit_pool(node: Node) -> bool:
    units = [*node.attribute("kernel_shape"), *node.attribute("strides", [1])]
    return all(size == 1 for size in units) and not any(node.attribute("pads", [])) and _same_shape(node)


def _is_identity_affine(node: Node) -> bool:
    affine = affine_of(node)
    return isinstance(affine, Affine) and bool(np.all(affine.scale == 1)) and not affine.shifts


def _all_zero(node: Node) -> bool:
    pads = node.constant(1)
    return pads is not None and not pads.any()


_NO_OPS: dict[str, Callable[[Node], bool]] = {
    "Add": _is_identity_affine,
    "AveragePool": _is_unit_pool,
    "Cast": lambda node: node.operand(0).dtype == node.output.dtype,
    "Clip": _is_wide_clip,
    "Concat": lambda node: len(node.inputs) == 1,
    "Div": _is_identity_affine,
    "Dropout": _is_idle_dropout,
    "Expand": _same_shape,
    "Flatten": _same_shape,
    "Identity": lambda node: True,
    "Max": lambda node: len(node.inputs) == 1,
    "MaxPool": _is_unit_pool,
    "Mean": lambda node: len(node.inputs) == 1,
    "Min": lambda node: len(node.inputs) == 1,
    "Mul": _is_identity_affine,
    "Pad": _all_zero,
    "Reshape": _same_shape,
    "Resize": _is_same_size_resize,
    "Slice": _is_whole_slice,
    "Squeeze": _same_shape,
    "Sub": _is_identity_affine,
    "Sum": lambda node: len(node.inputs) == 1,
    "Transpose": lambda node: _permutation(node) == list(range(node.output.rank)),
    "Unsqueeze": _same_shape,
}
"""Op -> whether this node of it gives back its input."""
