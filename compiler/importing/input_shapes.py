"""The shape of one sample of every graph input, from the file and from --input-shape."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ValueInfoProto

from bitsmith.errors import ModelError, UnsupportedError
from bitsmith.importing.draft import Draft
from bitsmith.importing.infer import Dims
from bitsmith.registry import suggest

InputShapes = Mapping[str, tuple[int, ...]]


def input_samples(draft: Draft, given: InputShapes) -> tuple[dict[str, tuple[int, ...]], int | None]:
    """The shape of one sample of each input, and the batch if the file fixes it.

    given: input name -> shape, batch first; it fills in what the file leaves open. Raises ModelError for a
    dimension that stays open or that `given` contradicts, and UnsupportedError for an input without samples.
    """
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
                f"its shape is {show_shape(shape)}; all but the first dimension must be known",
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
            f"{len(given)} dimensions, but the model declares {show_shape(declared)}",
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


def example_shape(value: ValueInfoProto) -> str:
    """A shape as --input-shape takes it, 32 standing for what the file leaves open."""
    return ",".join(["1", *(str(d or 32) for d in (_declared(value) or (1, None))[1:])])


def show_shape(shape: Dims | None) -> str:
    """A shape for a message, with ? for an unknown dimension."""
    return "unknown" if shape is None else "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"
