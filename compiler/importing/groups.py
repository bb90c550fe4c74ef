"""Groups of convolutions, which shape inference takes at their word."""

from __future__ import annotations

from onnx import helper

from bitsmith.errors import ModelError
from bitsmith.importing.draft import Draft
from bitsmith.importing.screen import node_label


def require_groups(draft: Draft) -> None:
    """Raise ModelError for a Conv whose weight does not fit the channels that it reads.

    Every value of the draft has its shape by now.
    """
    values = [*draft.graph.input, *draft.graph.value_info, *draft.graph.output]
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    for node in draft.graph.node:
        weight = draft.constants.get(node.input[1]) if node.op_type == "Conv" else None
        shape = shapes.get(node.input[0]) if weight is not None else None
        if weight is None or shape is None:
            continue
        groups = next((helper.get_attribute_value(one) for one in node.attribute if one.name == "group"), 1)
        channels = 0 if weight.ndim != len(shape) else weight.shape[1] * groups
        if groups < 1 or channels != shape[1] or weight.shape[0] % groups:
            raise ModelError(
                f"a weight of {list(weight.shape)} in {groups} groups does not fit {shape[1]} channels",
                where=node_label(node),
                fix="Export the model again.",
            )
