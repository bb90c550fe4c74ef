"""A model on its way in: its nodes as a protobuf without weights, and its constants as arrays beside them.

onnx's tools (checker, inliner, version converter, shape inference) serialize whatever they are given. Handed a
model of 500 MB they would copy it several times over, so they are handed one whose large constants stand in as
inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import uses_external_data

from bitsmith.errors import ModelError, UnsupportedError

SMALL = 4096
"""Elements up to which a constant is shown to onnx's tools: enough for a shape, a pad, or an axis list."""

INTEGERS = (
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.INT16,
    TensorProto.UINT16,
    TensorProto.INT32,
    TensorProto.UINT32,
    TensorProto.INT64,
    TensorProto.UINT64,
)
_ALIEN = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
_KNOWN = (*_ALIEN, *INTEGERS, TensorProto.FLOAT, TensorProto.BOOL)

IR_VERSION = 10
"""Of drafts, at most: the newest that every ONNX Runtime takes which has opset 23. Later ones add nothing used here."""

STANDARD = ("", "ai.onnx")
"""The two names of the domain of the standard operators. A draft uses the first."""


class Draft:
    """Nodes, inputs and outputs as `model` (no initializers), and `constants` by the name that nodes read.

    The caller's model is read, never changed.
    """

    def __init__(self, model: ModelProto) -> None:
        self.model = ModelProto()
        self.constants: dict[str, npt.NDArray[Any]] = {}
        self.absorb(model)

    def absorb(self, model: ModelProto) -> None:
        """Take `model` over: its nodes as they are, and every initializer and Constant node as a constant.

        An initializer that is also listed as an input (which IR versions before 4 ask for) is no input.
        """
        found = [(tensor.name, _array(tensor, f"initializer {tensor.name}")) for tensor in model.graph.initializer]
        fresh = ModelProto(ir_version=min(max(model.ir_version, 4), IR_VERSION), doc_string=model.doc_string)
        graph = fresh.graph
        for node in model.graph.node:
            array = _constant(node)
            if array is None:
                graph.node.append(node)
                if node.domain == "ai.onnx":
                    graph.node[-1].domain = ""
            else:
                found.append((node.output[0], array))
        twice = [name for name, count in Counter(name for name, _ in found).items() if count > 1]
        if twice:
            raise ModelError("is made more than once", where=f"constant {twice[0]}", fix="Export the model again.")
        self.constants.update(found)
        standard = next(entry.version for entry in model.opset_import if entry.domain in STANDARD)
        fresh.opset_import.add(domain="", version=standard)
        called = {function.domain for function in model.functions} - set(STANDARD)
        fresh.opset_import.extend(entry for entry in model.opset_import if entry.domain in called)
        fresh.metadata_props.extend(model.metadata_props)
        fresh.functions.extend(model.functions)
        graph.name = model.graph.name or "model"
        graph.doc_string = model.graph.doc_string
        graph.input.extend(value for value in model.graph.input if value.name not in self.constants)
        graph.output.extend(model.graph.output)
        # Some exporters write -1 for what is not known; onnx's tools would end the process over it.
        for value in [*graph.input, *graph.output]:
            for dimension in value.type.tensor_type.shape.dim:
                if dimension.dim_value < 0:
                    dimension.Clear()
        self.model = fresh

    def for_tools(self) -> ModelProto:
        """A self-contained model: small constants as initializers, large ones as inputs of their type and shape."""
        model = ModelProto()
        model.CopyFrom(self.model)
        for name, array in self.constants.items():
            if array.size <= SMALL:
                model.graph.initializer.append(numpy_helper.from_array(array, name))
            else:
                kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                model.graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
        return model

    @property
    def graph(self) -> GraphProto:
        return self.model.graph

    @property
    def opset(self) -> int:
        """The version of the standard operators."""
        return int(self.model.opset_import[0].version)

    def readers(self) -> Counter[str]:
        """How often each value is read, by nodes and as a graph output."""
        reads = Counter(name for node in self.graph.node for name in node.input if name)
        reads.update(value.name for value in self.graph.output)
        return reads

    def names(self) -> set[str]:
        """Every value name in use."""
        made = {name for node in self.graph.node for name in node.output}
        return made | set(self.constants) | {value.name for value in self.graph.input}


def all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """The nodes of a graph and of the graphs inside its nodes, each before what is inside it."""
    waiting = list(reversed(graph.node))
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.type == AttributeProto.GRAPH else list(attribute.graphs)
            waiting.extend(one for graph in reversed(inner) for one in reversed(graph.node))


def _constant(node: NodeProto) -> npt.NDArray[Any] | None:
    """The array of a Constant node, in whichever of its attributes it stands; None for any other node."""
    if node.op_type != "Constant" or node.domain not in STANDARD or not node.attribute:
        return None
    attribute = node.attribute[0]
    where = f"Constant {node.name or node.output[0]}"
    if attribute.name == "value":
        return _array(attribute.t, where)
    if attribute.name in ("value_float", "value_floats"):
        return np.asarray(helper.get_attribute_value(attribute), np.float32)
    if attribute.name in ("value_int", "value_ints"):
        return np.asarray(helper.get_attribute_value(attribute), np.int64)
    raise UnsupportedError(
        f"a constant given as {attribute.name}", where=where, fix="Store it as a dense tensor of numbers."
    )


def _array(tensor: TensorProto, where: str) -> npt.NDArray[Any]:
    if tensor.data_type not in _KNOWN:
        raise UnsupportedError(
            f"a constant of type {type_name(tensor.data_type)}", where=where, fix="Export the model in float32."
        )
    return array_of(tensor, where)


def array_of(tensor: TensorProto, where: str) -> npt.NDArray[Any]:
    """The array of a tensor, of narrow integers one to an element. Raises ModelError, located at `where`."""
    try:
        if min(tensor.dims, default=0) < 0:
            raise ValueError("a size below 0")
        if uses_external_data(tensor):  # Or a file of that name in the current folder would be read.
            raise ValueError("its data are elsewhere")
        array: npt.NDArray[Any] = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, LookupError) as fault:
        raise ModelError(
            f"its data does not fill its shape {list(tensor.dims)}", where=where, fix="Export the model again."
        ) from fault
    return array


def type_name(kind: int) -> str:
    """A type of elements as messages call it, be it one that there is not."""
    known = dict(zip(TensorProto.DataType.values(), TensorProto.DataType.keys(), strict=True))
    return str(known.get(kind, f"number {kind}")).lower()
