"""The batch: the first dimension of every value, and the one dimension that is no number.

Shape inference over symbols loses track at the first Shape, Gather and Concat. So it is run twice on numbers, at
two batch sizes: a dimension that follows the batch is the batch, one that stays is a constant, and anything else
mixes samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto

from bitsmith.errors import ModelError, UnsupportedError
from bitsmith.ir.draft import Draft
from bitsmith.ir.graph import BATCH
from bitsmith.ir.infer import Dims, InferenceFailure, Inferred, infer, set_shape
from bitsmith.ir.screen import node_label
from bitsmith.registry import suggest

_PROBES = (2, 3)
_WRONG_FLOATS = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
_EXPORT_DYNAMIC = "Export the model with a dynamic batch axis (dynamic_axes or dynamic_shapes in torch.onnx.export)."
_SAMPLES_APART = "Samples must stay apart, one per index of the first dimension: change the model there."

InputShapes = Mapping[str, tuple[int, ...]]


def resolve_shapes(draft: Draft, given: InputShapes) -> None:
    """Give every value of the draft a type and a shape of numbers, but for a first dimension that is the batch.

    given: input name -> shape, batch included, which is ignored. Raises ModelError where a dimension stays
    unknown, and UnsupportedError where the batch is fixed, moved or mixed with another dimension.
    """
    samples, fixed = _input_samples(draft, given)
    if fixed is not None:
        _free_batch(draft, samples, fixed)
    first, second = (_probe(draft, samples, batch, fixed) for batch in _PROBES)
    shapes: dict[str, tuple[int | str, ...]] = {
        value.name: (BATCH, *samples[value.name]) for value in draft.graph.input
    }
    for node in draft.graph.node:
        for name in filter(None, node.output):
            kind = first.types.get(name, TensorProto.UNDEFINED)
            if name in first.known and name not in first.types:
                kind = _kind_of(first, name)
            _screen_type(node, name, kind)
            shapes[name] = _merge(node, name, _shape_of(first, name), _shape_of(second, name), draft)
            if name not in {value.name for value in draft.graph.output}:
                described = draft.graph.value_info.add(name=name)
                described.type.tensor_type.elem_type = kind
                set_shape(described, shapes[name])
    for value in [*draft.graph.input, *draft.graph.output]:
        value.type.tensor_type.elem_type = first.types[value.name]
        set_shape(value, shapes[value.name])


def _input_samples(draft: Draft, given: InputShapes) -> tuple[dict[str, tuple[int, ...]], int | None]:
    """The shape of one sample of each input, and the batch if the file fixes it."""
    inputs = {value.name: value for value in draft.graph.input}
    for name in given:
        if name not in inputs:
            raise ModelError(f"there is no input {name}", where=f"--input-shape {name}", fix=suggest(name, inputs))
    samples: dict[str, tuple[int, ...]] = {}
    batches: set[int] = set()
    for name, value in inputs.items():
        declared = _declared(value)
        shape = _merge_given(name, declared, given[name]) if name in given else declared
        if shape is None or None in shape[1:]:
            shown = ",".join(["1", *(str(d or 32) for d in (shape or (1, 3, None, None))[1:])])
            raise ModelError(
                f"its shape is {_show(shape)}; all but the first dimension must be known",
                where=f"input {name}",
                fix=f"Give them, as in --input-shape {name}={shown}.",
            )
        if len(shape) < 2:
            raise UnsupportedError(
                f"a value of rank {len(shape)}",
                where=f"input {name}",
                fix="An input needs a first dimension that counts samples, and at least one more.",
            )
        samples[name] = tuple(d for d in shape[1:] if d is not None)
        if declared is not None and declared[0] is not None:
            batches.add(declared[0])
    if len(batches) > 1:
        raise UnsupportedError(
            f"inputs with different first dimensions ({', '.join(map(str, sorted(batches)))})",
            where=draft.graph.name,
            fix="The first dimension of every input must count the same samples.",
        )
    return samples, batches.pop() if batches else None


def _declared(value: ValueInfoProto) -> Dims | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in tensor.shape.dim)


def _merge_given(name: str, declared: Dims | None, given: tuple[int, ...]) -> Dims:
    """The shape that the user gives, where it does not contradict the file's."""
    where = f"--input-shape {name}={','.join(map(str, given))}"
    if any(size < 1 for size in given):
        raise ModelError("a dimension below 1", where=where, fix="Give the sizes of one sample after a 1.")
    if declared is None:
        return given
    if len(given) != len(declared):
        raise ModelError(
            f"{len(given)} dimensions, but the model declares {_show(declared)}",
            where=where,
            fix=f"Give {len(declared)}, the batch first.",
        )
    for axis, (own, wanted) in enumerate(zip(declared, given, strict=True)):
        if axis > 0 and own is not None and own != wanted:
            raise ModelError(
                f"the model fixes dimension {axis} to {own}",
                where=where,
                fix="Export it with that dimension dynamic, or give its own size.",
            )
    return given


def _free_batch(draft: Draft, samples: Mapping[str, tuple[int, ...]], fixed: int) -> None:
    """Rewrite what was exported for a batch of `fixed`: Reshape targets that name it, outputs that carry it."""
    try:
        inferred = infer(draft, {name: (fixed, *sample) for name, sample in samples.items()})
    except InferenceFailure as failure:
        raise ModelError(
            f"its shapes contradict each other ({failure})", where=draft.graph.name, fix="Export the model again."
        ) from None
    taken = draft.names()
    for node in draft.graph.node:
        if node.op_type == "Squeeze" and len(node.input) < 2:
            shape = inferred.shapes.get(node.input[0])
            if shape and shape[0] == fixed == 1:
                raise UnsupportedError(
                    "drops every dimension of 1, the batch with them",
                    where=node_label(node),
                    fix="Name the axes to squeeze, or export with a dynamic batch axis.",
                )
        if node.op_type != "Reshape":
            continue
        target, source, made = inferred.known.get(node.input[1]), _shape_of(inferred, node.input[0]), None
        made = _shape_of(inferred, node.output[0])
        if target is None or not target.size or not source or not made:
            continue
        zeros_are_sizes = any(a.name == "allowzero" and a.i for a in node.attribute) and 0 in target
        if source[0] == made[0] == fixed == target[0] and not zeros_are_sizes:
            for attribute in [a for a in node.attribute if a.name == "allowzero"]:
                node.attribute.remove(attribute)
            name = f"{node.input[1]}.batch"
            while name in taken:
                name += "_"
            taken.add(name)
            draft.constants.pop(node.input[1], None)
            draft.constants[name] = np.concatenate([[0], target[1:]]).astype(np.int64)
            node.input[1] = name


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


def _shape_of(inferred: Inferred, name: str) -> Dims | None:
    return inferred.known[name].shape if name in inferred.known else inferred.shapes.get(name)


def _kind_of(inferred: Inferred, name: str) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(inferred.known[name].dtype))


def _screen_type(node: NodeProto, name: str, kind: int) -> None:
    if kind in _WRONG_FLOATS:
        raise UnsupportedError(
            f"{name} is {TensorProto.DataType.Name(kind).lower()}, not float32",
            where=node_label(node),
            fix="Export the model in float32 throughout.",
        )


def _merge(node: NodeProto, name: str, first: Dims | None, second: Dims | None, draft: Draft) -> tuple[int | str, ...]:
    """One shape from the shapes at the two probes."""
    where = f"value {name}, made by {node_label(node)}"
    if first is None or second is None or None in first or None in second or len(first) != len(second):
        inputs = " ".join(f"--input-shape {v.name}={_example(v)}" for v in draft.graph.input)
        raise ModelError(
            f"its shape is not known: {_show(first)}",
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
    return tuple(merged)


def _example(value: ValueInfoProto) -> str:
    return ",".join(["1", *(str(d or 32) for d in (_declared(value) or (1, None))[1:])])


def _show(shape: Dims | None) -> str:
    return "unknown" if shape is None else "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"
