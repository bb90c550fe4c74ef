"""`integer.onnx`: an integer graph as a plain ONNX model, which stock ONNX Runtime executes, and back.

Each operation is one node of the domain `bitsmith`, a function that the model brings along (`functions`). The
model takes and gives the integers themselves. The graph stands in its metadata as JSON, with its arrays as
initializers (`serial`), so that nothing is lost: the nodes are what that graph says, never read back, but
checked against it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper

from bitsmith.errors import ArtifactError, InternalError, UnsupportedError
from bitsmith.execution import serial
from bitsmith.execution.calls import Call, call
from bitsmith.execution.function_texts import DOMAIN
from bitsmith.execution.functions import DOMAIN_VERSION, OPSET, functions
from bitsmith.ir.integer import IntegerGraph, Operation, Value
from bitsmith.ir.validate import validate

IR_VERSION = 10
METADATA = "bitsmith.graph"
SERIAL_VERSION = 3
BATCH = "samples"


def to_onnx(graph: IntegerGraph) -> onnx.ModelProto:
    """The graph as an ONNX model: integers in, integers out, (samples, *shape) each in its storage type.

    The same graph gives the same model. Raises InternalError for a graph that breaks its rules, and
    UnsupportedError for an operation that no standard integer op does.
    """
    validate(graph)
    data, arrays = serial.write(graph)
    calls = [call(operation, graph) for operation in graph]
    nodes = [
        _node(operation, one, _array_names(record, one.arrays))
        for operation, one, record in zip(graph, calls, data["operations"], strict=True)
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            graph.name,
            [described(graph.values[name]) for name in graph.inputs],
            [described(graph.values[name]) for name in graph.outputs],
            [numpy_helper.from_array(array, name) for name, array in arrays.items()],
        ),
        functions=functions(one.function for one in calls),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)],
        ir_version=IR_VERSION,
        producer_name=DOMAIN,
    )
    helper.set_model_props(model, {METADATA: _json({"version": SERIAL_VERSION, **data})})
    return model


def from_onnx(model: onnx.ModelProto) -> IntegerGraph:
    """The graph that `to_onnx` made this model of.

    Raises ArtifactError for any other model, one that was altered since included.
    """
    where = f"model {model.graph.name}"
    data = _metadata(model, where)
    if not isinstance(data, dict) or data.pop("version", None) != SERIAL_VERSION:
        raise ArtifactError("is of another version of bitsmith", where=where, fix="Compile the model again.")
    try:
        graph = serial.read(data, dict(_arrays(model, where)))
        expected = to_onnx(graph)
    except (InternalError, UnsupportedError) as broken:
        raise _altered(f"holds a graph that breaks a rule: {broken}", where) from broken
    if expected.graph != model.graph:
        raise _altered("has nodes or tensors that its graph does not say", where)
    if list(expected.functions) != list(model.functions):
        raise _altered("has functions that do not mean what bitsmith's do", where)
    return graph


def described(value: Value) -> onnx.ValueInfoProto:
    """A value as an input or output of a model: (samples, *shape), in its storage type."""
    kind = helper.np_dtype_to_tensor_dtype(value.format.type.storage)
    return helper.make_tensor_value_info(value.name, kind, [BATCH, *value.shape])


def _node(operation: Operation, call: Call, arrays: list[str]) -> onnx.NodeProto:
    node = helper.make_node(
        call.function, [*operation.inputs, *arrays], [operation.output], name=operation.name, domain=DOMAIN
    )
    node.attribute.extend(
        helper.make_attribute(name, value, attr_type=onnx.AttributeProto.INT)
        if isinstance(value, int)
        else helper.make_attribute(name, list(value), attr_type=onnx.AttributeProto.INTS)
        for name, value in sorted(call.attributes.items())
    )
    return node


def _array_names(record: Any, paths: tuple[str, ...]) -> list[str]:
    """The initializers that hold these arrays of an operation, given what `serial` wrote of it."""
    names = []
    for path in paths:
        found = record
        for part in path.split("."):
            found = found[part]
        names.append(found[serial.ARRAY])
    return names


def _json(data: object) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


def _metadata(model: onnx.ModelProto, where: str) -> object:
    found = [entry.value for entry in model.metadata_props if entry.key == METADATA]
    if len(found) != 1:
        raise ArtifactError(
            "is not a model that bitsmith wrote", where=where, fix="Give the integer.onnx of a compiled folder."
        )
    try:
        return json.loads(found[0])
    except (ValueError, RecursionError) as reason:
        raise _altered(f"describes its graph in no JSON: {reason}", where) from reason


def _arrays(model: onnx.ModelProto, where: str) -> Iterator[tuple[str, Any]]:
    for tensor in model.graph.initializer:
        # An external tensor is a path on this machine, to be read by nobody.
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise _altered(f"keeps {tensor.name} in another file", where)
        try:
            yield tensor.name, numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as reason:
            raise _altered(f"holds a damaged tensor {tensor.name}: {reason}", where) from reason


def _altered(what: str, where: str) -> ArtifactError:
    return ArtifactError(what, where=where, fix="It was altered since it was written: compile the model again.")
