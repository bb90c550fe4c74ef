"""Every nearest-neighbour Resize as one form of Resize."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.ir.graph import Graph, Node
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module


@dataclass(frozen=True)
class CanonicalizeResizes(Pass):
    """Give every nearest Resize constant scales for every axis, or constant sizes for every axis but the batch.

    The two are kept apart: coordinates are computed from the scale as given, and a size over a size is another
    number where the output was rounded. Region, antialiasing and cubic settings, which nearest ignores, go.
    """

    name: ClassVar[str] = "canonicalize-resizes"

    def run(self, module: Module) -> Changes:
        changes = Changes()
        for node in module.graph.nodes("Resize"):
            before = _form(node)
            reason = _canonicalize(module.graph, node)
            if reason is not None:
                changes.refuse(node, reason)
            elif _form(node) != before:
                changes.change(node)
        module.graph.prune()
        return changes


def _form(node: Node) -> tuple[object, ...]:
    arrays = [None if a is None else a.tolist() for a in map(node.constant, range(1, 4))]
    return (*arrays, len(node.inputs), sorted(node.attributes.items()))


def _canonicalize(graph: Graph, node: Node) -> str | None:
    value = node.operand(0)
    mode = node.attribute("mode", "nearest")
    transformation = node.attribute("coordinate_transformation_mode", "half_pixel")
    if mode != "nearest":
        return f"it interpolates in mode {mode}"
    if transformation == "tf_crop_and_resize":
        return "it crops by a region of interest"
    if node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        return "it keeps the aspect ratio"
    if value.rank == 0 or value.shape[0] is not None:
        return f"the first dimension of {value.name} is not the batch"
    rank = value.rank
    axes = [int(axis) % rank for axis in node.attribute("axes", range(rank))]
    scales, sizes = _given(node, 2), _given(node, 3)
    if sizes is None and scales is None and node.input(3) is not None and node.output.shape[0] is None:
        # Computed from the shape of a value, and known since the import.
        axes, sizes = list(range(1, rank)), np.array(node.output.sample_shape)
    if scales is not None:
        factors = np.ones(rank, np.float32)
        factors[axes] = scales
        if factors[0] != 1:
            return "it resizes the batch"
        operands = [value, None, graph.add_constant(f"{node.name}.scales", factors)]
        node.drop_attributes("axes")
    elif sizes is not None:
        wanted = dict(zip(axes, (int(size) for size in sizes), strict=True))
        targets = [wanted.get(axis, size) for axis, size in enumerate(value.sample_shape, start=1)]
        if tuple(targets) != node.output.sample_shape or node.output.shape[0] is not None:
            return "it resizes the batch"
        operands = [value, None, None, graph.add_constant(f"{node.name}.sizes", np.array(targets, np.int64))]
        node.set_attributes(axes=list(range(1, rank)))
    else:
        return "neither its scales nor its sizes are constant"
    for index in range(1, 4):
        node.set_input(index, operands[index] if index < len(operands) else None)
    while node.inputs[-1] is None:
        node.drop_input()
    node.drop_attributes(
        "antialias", "cubic_coeff_a", "exclude_outside", "extrapolation_value", "keep_aspect_ratio_policy"
    )
    node.set_attributes(
        mode="nearest",
        coordinate_transformation_mode=transformation,
        nearest_mode=node.attribute("nearest_mode", "round_prefer_floor"),
    )
    return None


def _given(node: Node, index: int) -> np.ndarray | None:
    """A constant operand, unless it is left out or empty, which says the same."""
    array = node.constant(index)
    return None if array is None or array.size == 0 else array.reshape(-1)
