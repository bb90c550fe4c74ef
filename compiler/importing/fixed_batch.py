"""A model exported for one batch size, made to run at any."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, NodeProto

from bitsmith.errors import ModelError, UnsupportedError
from bitsmith.importing.draft import Draft
from bitsmith.importing.infer import InferenceFailure, Inferred, infer
from bitsmith.importing.screen import node_label
from bitsmith.importing.tidy import fresh_name


def free_batch(draft: Draft, samples: Mapping[str, tuple[int, ...]], fixed: int) -> None:
    """Rewrite the operands that name the batch the file was exported for: targets of Reshape, sizes of Resize.

    samples: input name -> shape of one sample. fixed: the batch that the file declares. Nodes that mean
    something else at another batch are refused with an UnsupportedError; those that fail at another batch show
    up when shapes are inferred at one.
    """
    try:
        inferred = infer(draft, {name: (fixed, *sample) for name, sample in samples.items()})
    except InferenceFailure as failure:
        raise ModelError(
            f"its shapes contradict each other ({failure})", where=draft.graph.name, fix="Export the model again."
        ) from None
    taken = draft.names()
    for node in draft.graph.node:
        source, made = (inferred.shape(name) for name in (node.input[:1] + node.output[:1]) or ("", ""))
        if not source or not made:
            continue
        if node.op_type == "Squeeze" and len(node.input) < 2 and source[0] == fixed == 1:
            raise UnsupportedError(
                "drops every dimension of 1, the batch with them",
                where=node_label(node),
                fix="Name the axes to squeeze, or export with a dynamic batch axis.",
            )
        if source[0] == made[0] == fixed:
            if node.op_type == "Reshape":
                _free_reshape(draft, node, inferred, fixed, taken)
            elif node.op_type == "Resize":
                _free_resize(draft, node, inferred, fixed, taken)


def _free_reshape(draft: Draft, node: NodeProto, inferred: Inferred, fixed: int, taken: set[str]) -> None:
    """[batch, ...] becomes [0, ...], which copies the batch whatever it is."""
    target = inferred.known.get(node.input[1])
    zeros_are_sizes = target is not None and 0 in target and _attribute(node, "allowzero")
    if target is None or target[0] != fixed or zeros_are_sizes:
        return
    _drop_attribute(node, "allowzero")
    _give(draft, node, 1, np.concatenate([[0], target[1:]]).astype(np.int64), taken)


def _free_resize(draft: Draft, node: NodeProto, inferred: Inferred, fixed: int, taken: set[str]) -> None:
    """Sizes [batch, ...] become sizes of the other axes only."""
    sizes = inferred.known.get(node.input[3]) if len(node.input) > 3 else None
    if sizes is None or _attribute(node, "axes") or sizes[0] != fixed:
        return
    node.attribute.add(name="axes", type=AttributeProto.INTS, ints=range(1, sizes.size))
    _give(draft, node, 3, sizes[1:].astype(np.int64), taken)


def _give(draft: Draft, node: NodeProto, index: int, array: npt.NDArray[np.int64], taken: set[str]) -> None:
    name = fresh_name(f"{node.input[index]}.free", taken)
    draft.constants.pop(node.input[index], None)
    draft.constants[name] = array
    node.input[index] = name


def _attribute(node: NodeProto, name: str) -> bool:
    return any(a.name == name and (a.i or a.ints) for a in node.attribute)


def _drop_attribute(node: NodeProto, name: str) -> None:
    for attribute in [a for a in node.attribute if a.name == name]:
        node.attribute.remove(attribute)
