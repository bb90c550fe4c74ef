"""The float graph: typed views over onnx-graphsurgeon, which only this file imports.

A `Value` or `Node` is a light handle: two handles of one tensor are equal and hash alike, and a graph keeps no
table of them. The graph is mutable and is the only stage of a compile that passes rewrite. Arrays inside it
are never written in place: a pass that changes a weight sets a new array.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter
from onnx_graphsurgeon.ir.tensor import LazyValues

from bitsmith.errors import InternalError

BATCH = "N"
BESIDE = 64 * 2**10
"""Bytes from which a constant is left out of a model and given beside it: what shapes are inferred from is smaller."""
Attribute = int | float | str | Sequence[int] | Sequence[float] | Sequence[str]


class Value:
    """A tensor of the float graph: a graph input, what a node makes, or a constant."""

    __slots__ = ("_graph", "_tensor")

    def __init__(self, graph: Graph, tensor: gs.Tensor) -> None:
        self._graph = graph
        self._tensor = tensor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and self._tensor is other._tensor

    def __hash__(self) -> int:
        return id(self._tensor)

    def __repr__(self) -> str:
        return f"Value({self.name}: {self.dtype}{list(self.shape)})"

    @property
    def name(self) -> str:
        """The name, unique in its graph."""
        return str(self._tensor.name)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy type of its elements."""
        dtype: np.dtype[Any] = np.dtype(self._tensor.dtype)
        return dtype

    @property
    def shape(self) -> tuple[int | None, ...]:
        """All dimensions; None for one that is not a known number (the batch, and no other once imported)."""
        if self._tensor.shape is None:
            raise InternalError("a value without a shape", where=self.name)
        return tuple(int(d) if isinstance(d, int | np.integer) else None for d in self._tensor.shape)

    @property
    def rank(self) -> int:
        """How many dimensions it has, the batch included."""
        return len(self.shape)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample: all dimensions but the first, which is the batch."""
        known = tuple(d for d in self.shape[1:] if d is not None)
        if len(known) != self.rank - 1:
            raise InternalError("a value with an unknown dimension besides the batch", where=self.name)
        return known

    @property
    def constant(self) -> npt.NDArray[Any] | None:
        """The array of a constant, read-only by convention; None for anything computed or given."""
        return self._tensor.values if isinstance(self._tensor, gs.Constant) else None

    @constant.setter
    def constant(self, array: npt.NDArray[Any]) -> None:
        if not isinstance(self._tensor, gs.Constant):
            raise InternalError("only a constant can be given an array", where=self.name)
        self._tensor.values = np.ascontiguousarray(array).reshape(array.shape)

    @property
    def array(self) -> npt.NDArray[Any]:
        """The array of what must be a constant here, which guards before saw to; InternalError if it is none."""
        array = self.constant
        if array is None:
            raise InternalError("is not constant", where=self.name)
        return array

    def set_channels(self, channels: int) -> None:
        """Say how many channels, along axis 1, there are of what is computed, where what makes it changed."""
        batch, _, *space = self._tensor.shape
        self._tensor.shape = [batch, channels, *space]

    @property
    def producer(self) -> Node | None:
        """The node that makes it; None for an input of the graph and for a constant."""
        return Node(self._graph, self._tensor.inputs[0]) if self._tensor.inputs else None

    @property
    def consumers(self) -> tuple[Node, ...]:
        """Each node that reads this value, once, in no particular order."""
        distinct = {id(node): node for node in self._tensor.outputs}
        return tuple(Node(self._graph, node) for node in distinct.values())

    @property
    def is_input(self) -> bool:
        """Whether the caller of the graph gives it."""
        return any(self._tensor is tensor for tensor in self._graph._surgeon.inputs)

    @property
    def is_output(self) -> bool:
        """Whether the caller of the graph gets it."""
        return any(self._tensor is tensor for tensor in self._graph._surgeon.outputs)

    @property
    def is_shared(self) -> bool:
        """Whether someone besides one consumer sees it: a second consumer, or the caller of the graph."""
        return len(self.consumers) + self.is_output > 1


class Node:
    """One operation of the float graph."""

    __slots__ = ("_graph", "_node")

    def __init__(self, graph: Graph, node: gs.Node) -> None:
        self._graph = graph
        self._node = node

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self._node is other._node

    def __hash__(self) -> int:
        return id(self._node)

    def __repr__(self) -> str:
        return f"Node({self.op} {self.name})"

    @property
    def op(self) -> str:
        """The operator's name in ONNX."""
        return str(self._node.op)

    @op.setter
    def op(self, op: str) -> None:
        self._node.op = op

    @property
    def domain(self) -> str:
        """The operator's domain; empty for ONNX's own."""
        return self._node.domain or ""

    @property
    def name(self) -> str:
        """The name, unique in its graph."""
        return str(self._node.name)

    @property
    def where(self) -> str:
        """How errors and reports call this node."""
        return f"{self.op} {self.name}"

    @property
    def inputs(self) -> tuple[Value | None, ...]:
        """The operands in order; None for an optional one that is left out."""
        return tuple(None if t.is_empty() else Value(self._graph, t) for t in self._node.inputs)

    def input(self, index: int) -> Value | None:
        """Operand `index`, or None where it is left out or beyond the last."""
        return self.inputs[index] if index < len(self._node.inputs) else None

    def operand(self, index: int) -> Value:
        """Operand `index`, which must be there."""
        value = self.input(index)
        if value is None:
            raise InternalError(f"operand {index} is missing", where=self.where)
        return value

    def constant(self, index: int) -> npt.NDArray[Any] | None:
        """The array of operand `index` if it is there and constant, else None."""
        value = self.input(index)
        return None if value is None else value.constant

    def array(self, index: int) -> npt.NDArray[Any]:
        """The array of operand `index`, which must be there and constant; InternalError if not."""
        return self.operand(index).array

    def set_input(self, index: int, value: Value | None) -> None:
        """Let operand `index` be this value, or be left out for None; those between are left out too."""
        while len(self._node.inputs) <= index:
            self._node.inputs.append(gs.Variable.empty())
        self._node.inputs[index] = gs.Variable.empty() if value is None else value._tensor

    def set_constant(self, index: int, role: str, array: npt.NDArray[Any]) -> None:
        """Let operand `index` be this constant; a new one is named after the node and `role`."""
        value = self.input(index)
        held = None if value is None else value.constant
        if value is None or held is None or value.is_shared:
            self.set_input(index, self._graph.add_constant(f"{self.name}.{role}", array))
        elif (held.dtype, held.shape) != (array.dtype, array.shape) or not np.array_equal(held, array):
            value.constant = array

    def drop_input(self) -> None:
        """Leave the last operand out."""
        self._node.inputs.pop()

    @property
    def outputs(self) -> tuple[Value, ...]:
        """What it makes, without optional outputs that are left out."""
        return tuple(Value(self._graph, t) for t in self._node.outputs if not t.is_empty())

    @property
    def output(self) -> Value:
        """The output of a node that has one."""
        if len(self._node.outputs) != 1:
            raise InternalError(f"{len(self._node.outputs)} outputs where one is expected", where=self.where)
        return self.outputs[0]

    @property
    def attributes(self) -> Mapping[str, Any]:
        """A copy of its attributes by name."""
        return dict(self._node.attrs)

    def attribute(self, name: str, default: Any = None) -> Any:
        """One attribute, or `default` where the node does not have it."""
        return self._node.attrs.get(name, default)

    def to_onnx(self) -> onnx.NodeProto:
        """The node alone, its operands by name."""
        proto: onnx.NodeProto = OnnxExporter.export_node(self._node)
        return proto

    def set_attributes(self, **attributes: Attribute) -> None:
        """Add or replace attributes."""
        self._node.attrs.update(attributes)

    def drop_attributes(self, *names: str) -> None:
        """Remove attributes; those that are not there are passed over."""
        for name in names:
            self._node.attrs.pop(name, None)


@dataclass(frozen=True)
class Note:
    """What an exporter wrote on a node, which graphsurgeon would lose."""

    documentation: str
    metadata: Mapping[str, str]

    @classmethod
    def on(cls, node: onnx.NodeProto) -> Note:
        """What stands on a node."""
        return cls(node.doc_string, {entry.key: entry.value for entry in node.metadata_props})

    def put_on(self, node: onnx.NodeProto) -> None:
        """Write it on a node again."""
        node.doc_string = self.documentation
        for key, text in self.metadata.items():
            node.metadata_props.add(key=key, value=text)


class Graph:
    """A float32 ONNX graph in which every value has a name, a type and a shape."""

    def __init__(self, surgeon: gs.Graph, metadata: Mapping[str, str], notes: Mapping[str, Note]) -> None:
        self._surgeon = surgeon
        self._metadata = dict(metadata)
        self._notes = dict(notes)
        self._names = set(surgeon.tensors(check_duplicates=True))
        self._node_names = {node.name for node in surgeon.nodes}
        self._counts: dict[tuple[str, bool], int] = {}

    @classmethod
    def from_onnx(
        cls, model: onnx.ModelProto, constants: Mapping[str, npt.NDArray[Any]] = MappingProxyType({})
    ) -> Graph:
        """Wrap a model whose names are unique and whose constants have one reader each (see importing/load.py).

        constants: arrays of values that nodes read and the model does not hold as initializers; not copied.
        """
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        notes = {node.name: Note.on(node) for node in model.graph.node}
        surgeon = gs.import_onnx(model)
        for node in surgeon.nodes:
            for index, tensor in enumerate(node.inputs):
                if tensor.name in constants:
                    node.inputs[index] = gs.Constant(tensor.name, constants[tensor.name])
        return cls(surgeon, metadata, notes)

    def to_onnx(self) -> onnx.ModelProto:
        """The graph as a model, nodes in execution order, metadata and node documentation put back."""
        self._surgeon.nodes = [node._node for node in self.nodes()]
        model: onnx.ModelProto = gs.export_onnx(self._surgeon)
        model.producer_name = "bitsmith"
        model.ir_version = 10
        for key, text in sorted(self._metadata.items()):
            model.metadata_props.add(key=key, value=text)
        for node in model.graph.node:
            if node.name in self._notes:
                self._notes[node.name].put_on(node)
        return model

    def to_onnx_apart(self) -> tuple[onnx.ModelProto, dict[str, npt.NDArray[Any]]]:
        """The graph as `to_onnx` gives it, but for large constants: said to be in a file, and given by name beside it.

        The arrays are the graph's own, so that neither they nor the model are copies of the weights.
        """
        large = [v._tensor for v in self.values() if v.constant is not None and v.constant.nbytes >= BESIDE]
        arrays = {str(tensor.name): tensor.values for tensor in large}
        for tensor in large:
            # What graphsurgeon has not loaded yet it exports as the protobuf says.
            tensor.values = LazyValues(elsewhere(tensor.name, tensor.values))
        try:
            return self.to_onnx(), arrays
        finally:
            for tensor in large:
                tensor.values = arrays[str(tensor.name)]

    def copy(self) -> Graph:
        """An independent graph; constants share their arrays, which nobody writes in place."""
        return Graph(self._surgeon.copy(), self._metadata, self._notes)

    def close(self) -> None:
        """Let go of all weights. What graphsurgeon makes refers to itself in circles: the arrays of a graph that is
        only dropped stay until Python's collector comes by, which counts objects and not their bytes."""
        for value in self.values():
            if value.constant is not None:
                value._tensor.values = np.empty(0, value.dtype)

    @property
    def name(self) -> str:
        """The name of the graph in its file."""
        return str(self._surgeon.name)

    @property
    def opset(self) -> int:
        """The version of ONNX's operators that its nodes are of."""
        return int(self._surgeon.opset)

    @property
    def metadata(self) -> Mapping[str, str]:
        """A copy of the model's metadata, which exports keep."""
        return dict(self._metadata)

    @property
    def inputs(self) -> tuple[Value, ...]:
        """What the caller gives, in order; constants are not among them."""
        return tuple(Value(self, tensor) for tensor in self._surgeon.inputs)

    @property
    def outputs(self) -> tuple[Value, ...]:
        """What the caller gets, in order."""
        return tuple(Value(self, tensor) for tensor in self._surgeon.outputs)

    def nodes(self, *ops: str) -> list[Node]:
        """The nodes of these ops (of all if none is named), producers before consumers, else as they stood."""
        order = self._execution_order()
        return [Node(self, node) for node in order if not ops or node.op in ops]

    def values(self) -> list[Value]:
        """Every value, graph inputs first, then in execution order; constants before their reader."""
        seen: dict[int, Value] = {}
        for tensor in self._surgeon.inputs:
            seen.setdefault(id(tensor), Value(self, tensor))
        for node in self._execution_order():
            for tensor in [*node.inputs, *node.outputs]:
                if not tensor.is_empty():
                    seen.setdefault(id(tensor), Value(self, tensor))
        return list(seen.values())

    def value(self, name: str) -> Value:
        """The value of this name; InternalError if there is none."""
        for value in self.values():
            if value.name == name:
                return value
        raise InternalError(f"no value is called {name}", where=self.name)

    def add_constant(self, hint: str, array: npt.NDArray[Any]) -> Value:
        """A new constant named after `hint`."""
        return Value(
            self,
            gs.Constant(self._fresh(hint, self._names), np.ascontiguousarray(array).reshape(array.shape)),
        )

    def add_node(
        self,
        op: str,
        inputs: Iterable[Value | None],
        hint: str,
        shape: Sequence[int | None],
        dtype: npt.DTypeLike = np.float32,
        **attributes: Attribute,
    ) -> Node:
        """A new node with one new output of the given shape (None for the batch), both named after `hint`."""
        output = gs.Variable(
            self._fresh(hint, self._names), np.dtype(dtype), [BATCH if d is None else int(d) for d in shape]
        )
        node = gs.Node(
            op,
            self._fresh(hint, self._node_names),
            dict(attributes),
            [gs.Variable.empty() if value is None else value._tensor for value in inputs],
            [output],
        )
        self._surgeon.nodes.append(node)
        return Node(self, node)

    def add_output(self, node: Node, hint: str, dtype: npt.DTypeLike) -> Value:
        """A second output, of the shape of the first, of a node that may have one and has not."""
        output = gs.Variable(self._fresh(hint, self._names), np.dtype(dtype), node.output._tensor.shape)
        node._node.outputs.append(output)
        return Value(self, output)

    def replace(self, old: Value, new: Value) -> None:
        """Let every reader of `old` read `new`. If `old` is a graph output, `new` takes its place and name."""
        for consumer in list(old._tensor.outputs):
            for index, tensor in enumerate(consumer.inputs):
                if tensor is old._tensor:
                    consumer.inputs[index] = new._tensor
        if old.is_output:
            if new.is_input or new.is_output or new.constant is not None:
                raise InternalError(f"{new.name} cannot take the place of output {old.name}")
            self._surgeon.outputs = [
                new._tensor if tensor is old._tensor else tensor for tensor in self._surgeon.outputs
            ]
            old._tensor.name, new._tensor.name = new._tensor.name, old._tensor.name

    def remove(self, node: Node) -> None:
        """Take a node out of the graph; its outputs must have no readers left."""
        for output in node.outputs:
            if output.consumers or output.is_output:
                raise InternalError(f"{output.name} is still read", where=node.where)
        node._node.inputs.clear()
        node._node.outputs.clear()
        self._surgeon.nodes = [other for other in self._surgeon.nodes if other is not node._node]

    def bypass(self, node: Node) -> None:
        """Replace a one-output node by its first input and remove it."""
        self.replace(node.output, node.operand(0))
        self.remove(node)

    def prune(self) -> list[str]:
        """Remove every node that no output depends on; returns their names."""
        removed: list[str] = []
        for node in reversed(self.nodes()):
            if not any(output.consumers or output.is_output for output in node.outputs):
                removed.append(node.name)
                self.remove(node)
        return removed

    def _execution_order(self) -> list[gs.Node]:
        """Kahn's algorithm, taking the earliest listed node that is ready, so that the order is stable."""
        nodes = self._surgeon.nodes
        position = {id(node): index for index, node in enumerate(nodes)}
        waiting = [0] * len(nodes)
        for index, node in enumerate(nodes):
            waiting[index] = sum(1 for tensor in node.inputs for _ in tensor.inputs)
        ready = [index for index, count in enumerate(waiting) if count == 0]
        heapq.heapify(ready)
        order: list[gs.Node] = []
        while ready:
            node = nodes[heapq.heappop(ready)]
            order.append(node)
            for output in node.outputs:
                for consumer in output.outputs:
                    index = position[id(consumer)]
                    waiting[index] -= 1
                    if waiting[index] == 0:
                        heapq.heappush(ready, index)
        if len(order) != len(nodes):
            raise InternalError("the graph has a cycle", where=self.name)
        return order

    def _fresh(self, hint: str, taken: set[str]) -> str:
        key = hint, taken is self._names
        name, count = hint, self._counts.get(key, 1)
        while name in taken:
            name, count = f"{hint}.{count}", count + 1
        self._counts[key] = count
        taken.add(name)
        return name


def elsewhere(name: str, array: npt.NDArray[Any]) -> onnx.TensorProto:
    """The type and shape of a constant, its data in a file that there is none of."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    found = onnx.TensorProto(name=name, data_type=kind, dims=array.shape)
    found.data_location = onnx.TensorProto.EXTERNAL
    found.external_data.add(key="location", value="memory")
    found.external_data.add(key="length", value=str(array.nbytes))
    return found
