"""Shapes by inference at a concrete batch: with every input dimension a number, shape arithmetic folds away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper, shape_inference

from bitsmith.importing.draft import SMALL, Draft
from bitsmith.importing.evaluate import CannotEvaluate, evaluate

Dims = tuple[int | None, ...]


class InferenceFailure(Exception):
    """The shapes of the model contradict each other; the argument says how."""


@dataclass(frozen=True)
class Inferred:
    """Per value its element type (TensorProto) and dimensions, None where unknown; and small values known outright."""

    types: Mapping[str, int]
    shapes: Mapping[str, Dims | None]
    known: Mapping[str, npt.NDArray[Any]]

    def shape(self, name: str) -> Dims | None:
        return self.known[name].shape if name in self.known else self.shapes.get(name)

    def type(self, name: str) -> int:
        if name in self.types or name not in self.known:
            return self.types.get(name, TensorProto.UNDEFINED)
        return int(helper.np_dtype_to_tensor_dtype(self.known[name].dtype))


def infer(draft: Draft, input_shapes: Mapping[str, tuple[int, ...]]) -> Inferred:
    """Infer types and shapes, all input dimensions being given.

    Inference and the evaluation of what became known (a Shape, and what is computed from it) alternate until
    nothing new is known. Raises InferenceFailure.
    """
    model = draft.for_tools()
    _forget_shapes(model.graph)
    for value in model.graph.input:
        if value.name in input_shapes:
            set_shape(value, input_shapes[value.name])
    known = {name: array for name, array in draft.constants.items() if array.size <= SMALL}
    while True:
        try:
            inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        except shape_inference.InferenceError as fault:
            raise InferenceFailure(_message(fault)) from fault
        shapes = _shapes(inferred.graph)
        if not _evaluate_known(model, shapes, known, draft.opset):
            break
    types = {value.name: value.type.tensor_type.elem_type for value in _values(inferred.graph)}
    return Inferred(types, shapes, known)


def _evaluate_known(
    model: ModelProto, shapes: Mapping[str, Dims | None], known: dict[str, npt.NDArray[Any]], opset: int
) -> bool:
    """Turn every node that is decided by known values into initializers; whether there were any."""
    outputs = {value.name for value in model.graph.output}
    rest: list[NodeProto] = []
    for node in model.graph.node:
        results = _results(node, shapes, known, opset)
        names = [name for name in node.output if name]
        known.update(zip(names, results or [], strict=False))
        # A graph output must stay the output of a node for the model to be well formed.
        if results is None or outputs.intersection(names):
            rest.append(node)
        else:
            model.graph.initializer.extend(map(numpy_helper.from_array, results, names))
    changed = len(rest) < len(model.graph.node)
    if changed:
        del model.graph.node[:]
        model.graph.node.extend(rest)
    return changed


def _results(
    node: NodeProto, shapes: Mapping[str, Dims | None], known: Mapping[str, npt.NDArray[Any]], opset: int
) -> list[npt.NDArray[Any]] | None:
    if node.op_type in ("Shape", "Size"):
        shape = shapes.get(node.input[0])
        if shape is None or None in shape:
            return None
        operands: list[npt.NDArray[Any] | None] = [np.broadcast_to(np.float32(0), [d or 0 for d in shape])]
    else:
        if not all(name in known for name in node.input if name):
            return None
        operands = [known[name] if name else None for name in node.input]
    made = [shapes.get(name) for name in node.output if name]
    if any(shape is None or None in shape or np.prod([d or 0 for d in shape]) > SMALL for shape in made):
        return None
    try:
        return evaluate(node, operands, opset)
    except CannotEvaluate:
        return None


def _values(graph: GraphProto) -> list[ValueInfoProto]:
    return [*graph.input, *graph.value_info, *graph.output]


def _shapes(graph: GraphProto) -> dict[str, Dims | None]:
    shapes: dict[str, Dims | None] = {}
    for value in _values(graph):
        tensor = value.type.tensor_type
        shapes[value.name] = (
            tuple(int(d.dim_value) if d.HasField("dim_value") else None for d in tensor.shape.dim)
            if tensor.HasField("shape")
            else None
        )
    for initializer in graph.initializer:
        shapes[initializer.name] = tuple(int(d) for d in initializer.dims)
    return shapes


def _forget_shapes(graph: GraphProto) -> None:
    """What a file says of shapes inside the graph may be wrong once its batch is changed."""
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")


def set_shape(value: ValueInfoProto, shape: tuple[int | str, ...]) -> None:
    """Give a graph input or output these dimensions, numbers or symbols."""
    value.type.tensor_type.ClearField("shape")
    value.type.tensor_type.shape.SetInParent()
    for size in shape:
        if isinstance(size, str):
            value.type.tensor_type.shape.dim.add().dim_param = size
        else:
            value.type.tensor_type.shape.dim.add().dim_value = size


def _message(fault: Exception) -> str:
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return lines[-1] if lines else type(fault).__name__
