"""Reading a quantized graph: node by node, each value being real, or integers of a known format, or a constant.

What comes out is a float model in which every activation that the file rounds to a grid passes through a marker, an
Identity, whose format stands beside it. All dialects come to that: what makes integers of reals is a marker, what
makes reals of integers is nothing at all, and an op on integers is the op on what they stand for, with a marker behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from bitsmith.errors import ModelError, UnsupportedError
from bitsmith.faults import Faults
from bitsmith.importing.draft import STANDARD, array_of
from bitsmith.importing.evaluate import CannotEvaluate, evaluate
from bitsmith.importing.quantized.constants import QuantizedConstant
from bitsmith.importing.screen import node_label
from bitsmith.importing.tidy import fresh_name
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.quantizers import FixedWeight, Quantizer, Quantizers

Array = npt.NDArray[Any]

SMALL = 4096
"""Elements up to which a constant is computed on the way: scales and shapes, not weights."""

ON_INTEGERS = frozenset({"Concat", "Flatten", "Identity", "MaxPool", "Reshape", "Slice", "Split", "Squeeze"}) | {
    "Transpose",
    "Unsqueeze",
}
"""Ops that say the same of integers as of the reals that they stand for."""

MOVES_OF_CONSTANTS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})

FEWEST = {
    **dict.fromkeys(("BipolarQuant", "DequantizeLinear", "QuantizeLinear"), 2),
    **dict.fromkeys(("Quant", "IntQuant"), 4),
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), 7),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul"), 8),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearSigmoid", "QLinearSoftmax"), 4),
    "QLinearConcat": 5,
    "QLinearLeakyRelu": 4,
    "QGemm": 6,
}
"""The fewest operands of the ops of quantization."""

INTEGER_INPUTS = {
    TensorProto.INT8: IntegerType(8),
    TensorProto.UINT8: IntegerType(8, signed=False),
    TensorProto.INT16: IntegerType(16),
    TensorProto.UINT16: IntegerType(16, signed=False),
}
"""Graph inputs and outputs that hold integers: written as float ones."""


@dataclass(frozen=True)
class Real:
    """A value in float, by its name in the model that is written."""

    name: str


@dataclass(frozen=True)
class Integers:
    """A value in integers: the name of the float one that takes its place, and its format (None: not known yet)."""

    name: str
    format: Format | None


Held = Real | Integers | QuantizedConstant | Array


class Reader:
    """One reading of a model, whose functions are inlined.

    handlers: what to do with ops of quantization. dialects: those that were met. narrowed: constants of integers that
    are clipped to fewer bits than their type has.
    """

    def __init__(self, model: ModelProto, handlers: Mapping[str, Callable[[Reader, NodeProto], None]]) -> None:
        self._model = model
        self._handlers = handlers
        self.opset = next((one.version for one in model.opset_import if one.domain in STANDARD), 1)
        self.dialects: dict[str, None] = {}
        self.narrowed: dict[str, IntegerType] = {}
        self._held: dict[str, Held] = {}
        self._faults = Faults()
        self._unknown: set[str] = set()
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}
        self._activations: dict[str, Quantizer] = {}
        self._weights: dict[str, FixedWeight] = {}
        self._operands: dict[str, Format | None] = {}
        made = {name for node in model.graph.node for name in node.output}
        self._names = made | {one.name for one in [*model.graph.initializer, *model.graph.input]}
        self._node_names = {node.name for node in model.graph.node}
        for tensor in model.graph.initializer:
            self._held[tensor.name] = array_of(tensor, f"initializer {tensor.name}")
        for value in model.graph.input:
            if value.name not in self._held:
                integers = value.type.tensor_type.elem_type in INTEGER_INPUTS
                self._held[value.name] = Integers(value.name, None) if integers else Real(value.name)
        self._inputs = {value.name for value in model.graph.input if not isinstance(self._held[value.name], np.ndarray)}

    def read(self) -> tuple[ModelProto, Quantizers]:
        """The float model with its markers, and what they say; UnsupportedError, of `each` node that is refused."""
        for node in self._model.graph.node:
            if not self._unknown.intersection(node.input):
                with self._faults.held():
                    self._read(node)
                    continue
            self._do_without(node)
        self._faults.require_none()
        outputs = [value.name for value in self._model.graph.output]
        for name in outputs:
            held = self._held.get(name)
            if isinstance(held, Real | Integers) and held.name != name:
                self._nodes.append(helper.make_node("Identity", [held.name], [name], name=self.node_name(name)))
        dialect = next((one for one in ("QONNX", "QOperator") if one in self.dialects), "QDQ")
        return self._written(), Quantizers(dialect, self._activations, self._weights, self._operands)

    def _do_without(self, node: NodeProto) -> None:
        """Go on behind a node that is refused, for what else there is to refuse.

        An op makes reals, whatever is wrong with what it reads; of what an op of quantization makes nothing is known,
        nor of what others make of that.
        """
        for name in filter(None, node.output):
            self._held[name] = Real(name)
            if node.op_type in self._handlers:
                self._unknown.add(name)

    def _written(self) -> ModelProto:
        source = self._model
        model = ModelProto(ir_version=max(source.ir_version, 4), doc_string=source.doc_string)
        model.opset_import.add(domain="", version=self.opset)
        model.metadata_props.extend(source.metadata_props)
        model.graph.name = source.graph.name or "model"
        model.graph.doc_string = source.graph.doc_string
        model.graph.node.extend(self._nodes)
        model.graph.initializer.extend(self._constants.values())
        for values, written in (
            (source.graph.input, model.graph.input),
            (source.graph.output, model.graph.output),
        ):
            for value in values:
                if value.name in self._inputs or written is model.graph.output:
                    written.append(value)
                    if value.type.tensor_type.elem_type in INTEGER_INPUTS:
                        written[-1].type.tensor_type.elem_type = TensorProto.FLOAT
        return model

    def _read(self, node: NodeProto) -> None:
        if node.op_type in self._handlers:
            self._require_operands(node)
            self._handlers[node.op_type](self, node)
            return
        if node.op_type == "Constant" and node.domain in STANDARD:
            try:
                self._held[node.output[0]] = self._evaluated(node, [])[0]
            except CannotEvaluate as fault:
                raise ModelError(f"is no constant ({fault})", where=node_label(node)) from fault
            return
        held = [self._held.get(name) for name in node.input if name]
        if held and all(isinstance(one, np.ndarray) for one in held) and self._is_small(held):
            try:
                results = self._evaluated(node, [self._held.get(name) if name else None for name in node.input])
            except CannotEvaluate:
                self.emit(node)
                return
            self._held.update(zip([name for name in node.output if name], results, strict=False))
        elif held and isinstance(held[0], QuantizedConstant) and node.op_type in MOVES_OF_CONSTANTS:
            self._move_constant(node, held[0])
        elif any(isinstance(one, Integers) for one in held):
            self._on_integers(node)
        else:
            self.emit(node)

    def _require_operands(self, node: NodeProto) -> None:
        least = FEWEST.get(node.op_type, 1)
        missing = len(node.input) < least or not all(node.input[index] for index in (0, least - 1))
        if missing or not node.output or not node.output[0]:
            raise ModelError(
                f"has {len(node.input)} operands, fewer than it needs" if missing else "makes nothing",
                where=node_label(node),
                fix="Export the model again.",
            )

    def _is_small(self, held: Sequence[Held | None]) -> bool:
        return all(isinstance(one, np.ndarray) and one.size <= SMALL for one in held)

    def _evaluated(self, node: NodeProto, operands: Sequence[Any]) -> list[Array]:
        return evaluate(node, operands, self.opset)

    def _move_constant(self, node: NodeProto, constant: QuantizedConstant) -> None:
        """A weight that is transposed or reshaped before it is read."""
        rest = [self.array(node, index) for index in range(1, len(node.input))]

        def move(array: Array) -> Array:
            moved = evaluate(node, [np.ascontiguousarray(array), *rest], self.opset)[0]
            return moved.astype(array.dtype)

        try:
            self._held[node.output[0]] = constant.moved(move)
        except CannotEvaluate as fault:
            raise ModelError(f"cannot be evaluated ({fault})", where=node_label(node)) from fault

    def _on_integers(self, node: NodeProto) -> None:
        # An input in integers has no format before something reads it as reals, be it behind moves.
        formats = {held.format for name in node.input if isinstance(held := self._held.get(name), Integers)}
        if node.op_type not in ON_INTEGERS or len(formats) > 1:
            reason = "reads integers of different scales" if len(formats) > 1 else "reads integers"
            raise UnsupportedError(
                f"{reason}, as {node.input[0]} is",
                where=node_label(node),
                fix="Export the model in QDQ form, with DequantizeLinear before each op.",
            )
        self.emit(node)
        for name in filter(None, node.output):
            self._held[name] = Integers(name, next(iter(formats)))

    def emit(self, node: NodeProto, inputs: Sequence[str] | None = None) -> None:
        """Write a node that reads reals; `inputs` in place of its own. Its outputs are reals."""
        written = NodeProto()
        written.CopyFrom(node)
        del written.input[:]
        for index, name in enumerate(node.input if inputs is None else inputs):
            written.input.append(self._operand(written, index, name) if name else "")
        self._nodes.append(written)
        for name in filter(None, node.output):
            self._held[name] = Real(name)

    def make(self, op: str, inputs: Sequence[str], output: str, where: NodeProto, **attributes: Any) -> None:
        """Write a node of our own, for one of the file."""
        node = helper.make_node(op, list(inputs), [output], name=self.node_name(where.name or output), **attributes)
        self.emit(node)

    def _operand(self, reader: NodeProto, index: int, name: str) -> str:
        """What `reader` reads for the file's value `name`; a constant is written out for it alone."""
        held = self._held.get(name)
        if isinstance(held, Real | Integers):
            return held.name
        if held is None:
            return name
        if isinstance(held, QuantizedConstant):
            written = self.fresh(name) if name in self._constants or name not in self._names else name
            self._constants[written] = numpy_helper.from_array(held.real, written)
            self._note_constant(reader, index, written, held)
            return written
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(held, name)
        return name

    def _note_constant(self, reader: NodeProto, index: int, written: str, held: QuantizedConstant) -> None:
        where = f"{node_label(reader)}, operand {name_of(reader, index)}"
        rank = held.integers.ndim
        if reader.op_type in ("Conv", "Gemm", "MatMul") and index == 1 and rank >= 2:
            transposed = any(one.name == "transB" and one.i for one in reader.attribute)
            axis = 0 if reader.op_type == "Conv" or transposed else rank - 1
            self._weights[written] = held.as_weight(axis, where)
        elif reader.op_type in ("Add", "Sub", "Mul", "Concat"):
            self._operands[written] = held.as_operand()

    # What handlers are made of.

    def hold(self, name: str, held: Held) -> None:
        """Say what the file's value `name` is."""
        self._held[name] = held

    def held(self, name: str) -> Held:
        """What the file's value `name` is; a real by that name where nothing made it."""
        return self._held.get(name, Real(name))

    def array(self, node: NodeProto, index: int) -> Array | None:
        """A constant operand, None where it is left out; UnsupportedError where it is computed."""
        if index >= len(node.input) or not node.input[index]:
            return None
        held = self._held.get(node.input[index])
        if isinstance(held, QuantizedConstant):
            return held.real
        if not isinstance(held, np.ndarray):
            raise UnsupportedError(
                f"{name_of(node, index)} ({node.input[index]}) is computed when the model runs",
                where=node_label(node),
                fix="Quantize statically: scales and zero points must be constants.",
            )
        return held

    def mark(self, real: str, output: str, format: Format, tensor: str, *, integers: bool) -> str:
        """Write a marker: `real` (a name that is written already) rounded to `format` becomes `output`."""
        name = self.node_name(f"{tensor}.quantizer")
        self._nodes.append(helper.make_node("Identity", [real], [output], name=name))
        self._activations[name] = Quantizer(format, tensor, integers)
        return output

    def integers(self, name: str, format: Format, node: NodeProto) -> str:
        """The float value that stands for the file's integers `name`, which must be of this format."""
        held = self.held(name)
        if isinstance(held, Integers) and held.format is None:
            marked = self.mark(held.name, self.fresh(f"{name}.real"), format, name, integers=True)
            self._held[name] = Integers(marked, format)
            return marked
        if not isinstance(held, Integers):
            raise UnsupportedError(f"{name} is not quantized", where=node_label(node), fix="Export the model again.")
        if held.format is None or not _agree(held.format, format):
            raise UnsupportedError(
                f"it reads {name} with another scale or zero point than it was quantized with",
                where=node_label(node),
                fix="Export the model again: both sides of a value must agree.",
            )
        return held.name

    def fresh(self, hint: str) -> str:
        """A new value name."""
        return fresh_name(hint, self._names)

    def node_name(self, hint: str) -> str:
        """A new node name."""
        return fresh_name(hint, self._node_names)

    def is_input(self, name: str) -> bool:
        """Whether a value is an input of the graph."""
        return name in self._inputs

    def type_read(self, node: NodeProto) -> IntegerType:
        """The type of the integers that are a node's first operand."""
        held = self.held(node.input[0])
        if isinstance(held, Integers) and held.format is not None:
            return held.format.type
        for value in self._model.graph.input:
            if value.name == node.input[0] and value.type.tensor_type.elem_type in INTEGER_INPUTS:
                return INTEGER_INPUTS[value.type.tensor_type.elem_type]
        raise UnsupportedError(
            f"{node.input[0]} is not quantized", where=node_label(node), fix="Export the model again."
        )


def _agree(made: Format, read: Format) -> bool:
    """Whether integers are read as they were made, be it in a wider type."""
    same = (made.scale, made.zero_point) == (read.scale, read.zero_point)
    return same and read.type.lowest <= made.type.lowest and made.type.highest <= read.type.highest


def name_of(node: NodeProto, index: int) -> str:
    """How a message calls an operand."""
    return node.input[index] if index < len(node.input) and node.input[index] else f"number {index + 1}"


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """An attribute of a node, or its default; text as str. ModelError for one of another type than the default."""
    for one in node.attribute:
        if one.name == name:
            value = helper.get_attribute_value(one)
            value = value.decode(errors="replace") if one.type == AttributeProto.STRING else value
            if not isinstance(value, type(default)):
                raise ModelError(
                    f"its attribute {name} is no {type(default).__name__}",
                    where=node_label(node),
                    fix="Export the model again.",
                )
            return value
    return default
