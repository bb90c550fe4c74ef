"""The batch: the first dimension of every value, and the one dimension that is no number.

Shape inference over symbols loses track at the first Shape, Gather and Concat. So it is run twice on numbers, at
two batch sizes: a dimension that follows the batch is the batch, one that stays is a constant, and anything else
mixes samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from onnx import NodeProto, TensorProto

from bitsmith.errors import ModelError, UnsupportedError
from bitsmith.importing.draft import INTEGERS, Draft, type_name
from bitsmith.importing.fixed_batch import free_batch
from bitsmith.importing.infer import Dims, InferenceFailure, Inferred, infer, set_shape
from bitsmith.importing.input_shapes import InputShapes, example_shape, input_samples, show_shape
from bitsmith.importing.screen import node_label
from bitsmith.ir.graph import BATCH

LIMIT = 2**31 - 1
"""Bytes that one sample of a value may take, in float32."""

_PROBES = (2, 3)
_TYPES = (TensorProto.UNDEFINED, TensorProto.FLOAT, TensorProto.BOOL, *INTEGERS)
"""Of computed values; undefined where inference does not know it."""
_WEIGHTED = ("BatchNormalization", "Conv", "ConvTranspose", "InstanceNormalization", "LayerNormalization")
_EXPORT_DYNAMIC = "Export the model with a dynamic batch axis (dynamic_axes or dynamic_shapes in torch.onnx.export)."
_SAMPLES_APART = "Samples must stay apart, one per index of the first dimension: change the model there."


def resolve_shapes(draft: Draft, given: InputShapes) -> None:
    """Give every value of the draft a type and a shape of numbers, but for a first dimension that is the batch.

    given: input name -> shape, batch included, which is ignored. Raises ModelError where a dimension stays
    unknown, and UnsupportedError where the batch is fixed, moved or mixed with another dimension.
    """
    samples, fixed = input_samples(draft, given)
    _require_stored_weights(draft)
    for name, sample in samples.items():
        _require_affordable(sample, f"input {name}")
    if fixed is not None:
        free_batch(draft, samples, fixed)
    first, second = (_probe(draft, samples, batch, fixed) for batch in _PROBES)
    outputs = {value.name for value in draft.graph.output}
    shapes: dict[str, tuple[int | str, ...]] = {name: (BATCH, *sample) for name, sample in samples.items()}
    for node in draft.graph.node:
        _check_reshape(node, first, second)
        for name in filter(None, node.output):
            kind = first.type(name)
            if name not in first.known:
                _screen_type(node, name, kind)
            shapes[name] = _merge(node, name, first.shape(name), second.shape(name), draft)
            if name not in outputs:
                described = draft.graph.value_info.add(name=name)
                described.type.tensor_type.elem_type = kind
                set_shape(described, shapes[name])
    for value in [*draft.graph.input, *draft.graph.output]:
        value.type.tensor_type.elem_type = first.types[value.name]
        set_shape(value, shapes[value.name])


def _require_stored_weights(draft: Draft) -> None:
    """Refuse weights that the caller gives: their first dimension would be taken for the batch."""
    inputs = {value.name for value in draft.graph.input}
    for node in draft.graph.node:
        given = [name for name in node.input[1:] if name in inputs] if node.op_type in _WEIGHTED else []
        if given:
            raise UnsupportedError(
                f"its weights {given[0]} are an input of the model",
                where=node_label(node),
                fix="Export the model with its weights stored in it.",
            )


def _probe(draft: Draft, samples: Mapping[str, tuple[int, ...]], batch: int, fixed: int | None) -> Inferred:
    try:
        return infer(draft, {name: (batch, *sample) for name, sample in samples.items()})
    except InferenceFailure as failure:
        if fixed is None:
            raise ModelError(
                f"its shapes contradict each other at a batch of {batch} ({failure})",
                where=draft.graph.name,
                fix="Check --input-shape, or export the model again.",
            ) from None
        raise UnsupportedError(
            f"the model is made for a batch of {fixed} and fails at {batch} ({failure})",
            where=draft.graph.name,
            fix=_EXPORT_DYNAMIC,
        ) from None


def _check_reshape(node: NodeProto, *probes: Inferred) -> None:
    """Inference takes a constant target at its word; whether the elements fit it shows at another batch."""
    for inferred in probes if node.op_type == "Reshape" else ():
        source, made = inferred.shape(node.input[0]), inferred.shape(node.output[0])
        if source is None or made is None or None in source or None in made:
            continue
        if math.prod(d or 0 for d in source) != math.prod(d or 0 for d in made):
            raise UnsupportedError(
                f"its target {list(made)} fits one batch size only", where=node_label(node), fix=_EXPORT_DYNAMIC
            )


def _screen_type(node: NodeProto, name: str, kind: int) -> None:
    if kind not in _TYPES:
        raise UnsupportedError(
            f"{name} is {type_name(kind)}, not float32",
            where=node_label(node),
            fix="Export the model in float32 throughout.",
        )


def _merge(node: NodeProto, name: str, first: Dims | None, second: Dims | None, draft: Draft) -> tuple[int | str, ...]:
    """One shape from the shapes at the two probes."""
    where = f"value {name}, made by {node_label(node)}"
    if first is None or second is None or None in first or None in second or len(first) != len(second):
        inputs = " ".join(f"--input-shape {v.name}={example_shape(v)}" for v in draft.graph.input)
        raise ModelError(
            f"its shape is not known: {show_shape(first)}",
            where=where,
            fix=f"If it follows from the input, fix that: {inputs}. A shape that depends on data cannot be compiled.",
        )
    merged: list[int | str] = []
    for axis, (a, b) in enumerate(zip(first, second, strict=True)):
        if a == b and a is not None:
            merged.append(a)
        elif (a, b) == _PROBES and axis == 0:
            merged.append(BATCH)
        elif (a, b) == _PROBES:
            raise UnsupportedError(f"the batch is moved to dimension {axis}", where=where, fix=_SAMPLES_APART)
        else:
            raise UnsupportedError(f"the batch is mixed into dimension {axis}", where=where, fix=_SAMPLES_APART)
    if BATCH in merged and 0 in merged:
        raise ModelError(
            f"it has no elements: {show_shape(first)} at a batch of {_PROBES[0]}",
            where=where,
            fix="The input is too small for the windows that slide over it, or a slice takes nothing.",
        )
    _require_affordable(merged, where)
    return tuple(merged)


def _require_affordable(shape: Sequence[int | str], where: str) -> None:
    """Refuse a value before anything of its size is allocated."""
    size = 4 * math.prod(one for one in shape if isinstance(one, int))
    if size > LIMIT:
        raise UnsupportedError(
            f"a sample of it takes {size:,} bytes, more than 2 GiB", where=where, fix="Compile a smaller model."
        )
