"""Every nearest-neighbour Resize as one form of Resize."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bitsmith.ir.graph import Node
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
            reason = _canonicalize(node)
            if reason is not None:
                changes.refuse(node, reason)
            elif _form(node) != before:
                changes.change(node)
        module.graph.prune()
        return changes


def _form(node: Node) -> tuple[object, ...]:
    arrays = [None if a is None else a.tolist() for a in map(node.constant, range(1, 4))]
    return (*arrays, len(node.inputs), sorted(node.attributes.items()))


def _canonicalize(node: Node) -> str | None:
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
        node.drop_attributes("axes")
        _keep_operand(node, 2, "scales", factors)
    elif sizes is not None:
        wanted = dict(zip(axes, (int(size) for size in sizes), strict=True))
        targets = [wanted.get(axis, size) for axis, size in enumerate(value.sample_shape, start=1)]
        if tuple(targets) != node.output.sample_shape or node.output.shape[0] is not None:
            return "it resizes the batch"
        node.set_attributes(axes=list(range(1, rank)))
        _keep_operand(node, 3, "sizes", np.array(targets, np.int64))
    else:
        return "neither its scales nor its sizes are constant"
    node.drop_attributes(
        "antialias", "cubic_coeff_a", "exclude_outside", "extrapolation_value", "keep_aspect_ratio_policy"
    )
    node.set_attributes(
        mode="nearest",
        coordinate_transformation_mode=transformation,
        nearest_mode=node.attribute("nearest_mode", "round_prefer_floor"),
    )
    return None


def _keep_operand(node: Node, index: int, role: str, array: npt.NDArray[Any]) -> None:
    """Let `array` be operand `index`, the last one, and leave out those between it and the value."""
    while len(node.inputs) > index + 1:
        node.drop_input()
    for other in range(1, index):
        node.set_input(other, None)
    node.set_constant(index, role, array)


def _given(node: Node, index: int) -> npt.NDArray[Any] | None:
    """A constant operand, unless it is left out or empty, which says the same."""
    array = node.constant(index)
    return None if array is None or array.size == 0 else array.reshape(-1)
