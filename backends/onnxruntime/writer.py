"""The QDQ model while it is being written: nodes, initializers, and which tensor holds which value.

Every activation is held as uint8, whatever type its format names: ONNX Runtime's x86 kernels multiply unsigned
activations by signed weights, and its optimizer leaves a Conv between int8 activations in float where a value
has two readers. A signed integer q is held as q + 128 with the zero point moved along, so the grid of reals is
the same. Activations of more than 8 bits are held as uint16 likewise; what reads or makes them runs in float.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from bitsmith.backends.onnxruntime.capabilities import BYTE, WIDEST
from bitsmith.errors import UnsupportedError
from bitsmith.ir.formats import Format
from bitsmith.ir.integer import IntegerGraph, Operation, Requantize, Value

OPSET = 21
IR_VERSION = 10
OF_TWO_BITS = (25, 13)
"""Opset and IR version from which on ONNX has integers of 2 bits."""

BATCH = "batch"

Array = npt.NDArray[np.generic]


class Writer:
    """Collects nodes and initializers; knows the tensor of integers, and on demand the float one, of each value."""

    def __init__(self, graph: IntegerGraph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = []
        # The float model's names for its inputs and outputs are kept; everything else makes way for them.
        self._taken = {*graph.inputs, *graph.outputs}
        self._labels: set[str] = set()
        self._integers: dict[str, str] = {}
        self._reals: dict[str, str] = {}
        self._parameters: dict[str, tuple[str, str]] = {}
        for name, integers in graph.constants.items():
            self._integers[name] = self.constant(f"{name}_quantized", self.held(graph.values[name], integers))

    def constant(self, name: str, array: npt.ArrayLike) -> str:
        """Add an initializer; returns the name that it got."""
        unique = self._unique(name)
        self.initializers.append(numpy_helper.from_array(np.array(array, order="C"), unique))
        return unique

    def node(self, op: str, inputs: Sequence[str], name: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node; returns the name of its one output, which is `output` or made from `name`."""
        result = self._unique(f"{name}_result") if output is None else output
        label = _apart(name, self._labels)
        self.nodes.append(helper.make_node(op, list(inputs), [result], label, **attributes))
        return result

    def integers(self, value: str) -> str:
        """The tensor of unsigned integers that holds a value."""
        return self._integers[value]

    def reals(self, value: str) -> str:
        """The float tensor that a value stands for; one DequantizeLinear serves all readers."""
        if value not in self._reals:
            self._reals[value] = self.dequantize(value)
        return self._reals[value]

    def dequantize(self, value: str, output: str | None = None) -> str:
        """Add a DequantizeLinear of a value; returns its output."""
        name = self._unique(f"{value}_dequantized") if output is None else output
        chosen = self.graph.values[value].format
        if chosen.base is not None:
            return self.powers(value, chosen.dequantize(np.arange(chosen.type.highest + 1)), name)
        operands = [self._integers[value], *self.parameters(value)]
        return self.node("DequantizeLinear", operands, f"{value}_dequantize", name)

    def quantize(self, value: str, real: str, rule: Requantize | None = None) -> None:
        """Round a float tensor to the grid of `value`, and clamp as `rule` says or to its type's range.

        QuantizeLinear saturates to uint8, which is the whole clamp where the range is all of it. Elsewhere a
        Clip of the integers follows, and for caps per channel a Min: a Relu, Clip or Min before QuantizeLinear
        would keep ORT from fusing the op. It has neither for uint16, where nothing is fused: there they go before.
        """
        described = self.graph.values[value]
        if described.format.base is not None:
            logarithm = self.node("Log", [real], f"{value}_logarithm")
            self.quantize_powers(value, self.node("Neg", [logarithm], f"{value}_negated"))
            return
        kind = described.format.type
        bounds = (kind.lowest, kind.highest) if rule is None else (rule.lowest, rule.highest)
        if is_wide(described):
            self._integers[value] = self._quantize_wide(value, real, bounds, None if rule is None else rule.caps)
            return
        low, high = (int(bound) - offset(described) for bound in bounds)
        caps = None if rule is None else rule.caps
        if caps is not None:
            high = 255  # no cap is above it
        name = self._unique(f"{value}_quantized")
        made = self.node("QuantizeLinear", [real, *self.parameters(value)], f"{value}_quantize", name)
        if (low, high) != (0, 255):
            limits = [self.constant(f"{value}_{end}", np.uint8(at)) for end, at in (("low", low), ("high", high))]
            made = self.node("Clip", [made, *limits], f"{value}_clamp", self._unique(f"{value}_clamped"))
        if caps is not None:
            limit = self.constant(f"{value}_caps", self.held(described, caps)[None])
            made = self.node("Min", [made, limit], f"{value}_cap", self._unique(f"{value}_capped"))
        self._integers[value] = made

    def _quantize_wide(self, value: str, real: str, bounds: tuple[int, int], caps: Array | None) -> str:
        """As `quantize`, into uint16, with the clamps in float: a real bound lies in the middle of its step."""
        chosen = self.graph.values[value].format
        if bounds != (0, 0xFFFF) and bounds != (-0x8000, 0x7FFF):
            limits = [
                self.constant(f"{value}_{end}", np.float32(chosen.dequantize(np.array(at))))
                for end, at in zip(("low", "high"), bounds, strict=True)
            ]
            real = self.node("Clip", [real, *limits], f"{value}_clamp", self._unique(f"{value}_clamped"))
        if caps is not None:
            limit = self.constant(f"{value}_caps", chosen.dequantize(caps)[None].astype(np.float32))
            real = self.node("Min", [real, limit], f"{value}_cap", self._unique(f"{value}_capped"))
        name = self._unique(f"{value}_quantized")
        return self.node("QuantizeLinear", [real, *self.parameters(value)], f"{value}_quantize", name)

    def quantize_powers(self, value: str, logarithm: str) -> None:
        """Round the negative logarithm of a float tensor to the powers that `value` is in: their base's is the step."""
        chosen = self.graph.values[value].format
        step = self.constant(f"{value}_step", np.float32(np.log(chosen.base or 2)))
        zero = self.constant(f"{value}_zero_point", np.uint8(0))
        name = self._unique(f"{value}_quantized")
        made = self.node("QuantizeLinear", [logarithm, step, zero], f"{value}_quantize", name)
        limit = self.constant(f"{value}_last", np.uint8(chosen.type.highest))
        self._integers[value] = self.node("Min", [made, limit], f"{value}_clamp", self._unique(f"{value}_clamped"))

    def powers(self, value: str, reals: npt.NDArray[np.floating], output: str | None = None) -> str:
        """The float tensor of a value in a format of powers, of which each integer stands for one of `reals`."""
        table = self.constant(f"{value}_powers", reals.astype(np.float32))
        index = self.node("Cast", [self._integers[value]], f"{value}_index", to=TensorProto.INT32)
        return self.node("Gather", [table, index], f"{value}_dequantize", output)

    def keep(self, value: str, tensor: str) -> None:
        """Say that a tensor of unsigned integers holds `value`."""
        self._integers[value] = tensor

    def parameters(self, value: str) -> tuple[str, str]:
        """The initializers of a value's scale and zero point, made on first demand."""
        if value not in self._parameters:
            described = self.graph.values[value]
            scale = np.float32(described.format.scale[0])
            zero_point = self.held(described, described.format.zero_point)
            self._parameters[value] = (
                self.constant(f"{value}_scale", scale),
                self.constant(f"{value}_zero_point", zero_point),
            )
        return self._parameters[value]

    def weight(self, operation: Operation, name: str, integers: Array, scales: npt.ArrayLike) -> str:
        """Add an initializer of signed integers and its DequantizeLinear along axis 0; returns the float tensor.

        scales: float32, one, or one a row. The zero point is spelled out because ORT's change of weights to
        uint8 on processors whose int8 products saturate makes a scalar one where it is left out.
        """
        tensor = self.constant(f"{operation.name}_{name}_quantized", integers)
        return self.dequantize_rows(operation, name, tensor, integers.dtype, scales)

    def dequantize_rows(
        self, operation: Operation, name: str, tensor: str, kind: np.dtype[Any], scales: npt.ArrayLike
    ) -> str:
        """Add a DequantizeLinear of a tensor of integers of this kind, as `weight` does."""
        scale = np.asarray(scales, dtype=np.float32)
        scale = scale.reshape(()) if scale.size == 1 else scale
        operands = [
            tensor,
            self.constant(f"{operation.name}_{name}_scale", scale),
            self.constant(f"{operation.name}_{name}_zero_point", np.zeros(scale.shape, kind)),
        ]
        along = {"axis": 0} if scale.ndim else {}
        label = f"{operation.name}_{name}"
        return self.node("DequantizeLinear", operands, f"{label}_dequantize", self._unique(label), **along)

    def held(self, value: Value, integers: npt.ArrayLike) -> npt.NDArray[np.uint8 | np.uint16]:
        """Integers of a value's format as the uint8, or uint16, that holds them."""
        if value.format.type.bits > WIDEST or value.format.is_per_channel:
            grain = "per-channel" if value.format.is_per_channel else str(value.format.type)
            raise UnsupportedError(
                f"ONNX Runtime runs no {grain} activations",
                where=value.name,
                fix=f"Give activations {WIDEST} bits or fewer and one scale a tensor.",
            )
        shifted = np.asarray(integers, dtype=np.int64) - offset(value)
        return shifted.astype(np.uint16) if is_wide(value) else shifted.astype(np.uint8)

    def model(self) -> onnx.ModelProto:
        """The model: float inputs and outputs with a free batch dimension."""
        inputs = [float_value(self.graph, name, name) for name in self.graph.inputs]
        outputs = [float_value(self.graph, name, name) for name in self.graph.outputs]
        body = helper.make_graph(self.nodes, self.graph.name, inputs, outputs, self.initializers)
        has_two_bits = any(one.data_type in (TensorProto.INT2, TensorProto.UINT2) for one in self.initializers)
        opset, ir_version = OF_TWO_BITS if has_two_bits else (OPSET, IR_VERSION)
        return helper.make_model(
            body,
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=ir_version,
            producer_name="bitsmith",
        )

    def _unique(self, name: str) -> str:
        return _apart(name, self._taken)


def float_value(graph: IntegerGraph, value: str, tensor: str) -> onnx.ValueInfoProto:
    """The description of a float tensor that stands for a value, with a free batch dimension."""
    return helper.make_tensor_value_info(tensor, TensorProto.FLOAT, [BATCH, *graph.values[value].shape])


def is_wide(value: Value) -> bool:
    """Whether a value is held as uint16, for which ORT has no integer kernels."""
    return value.format.type.bits > BYTE


def offset(value: Value) -> int:
    """What the unsigned integer that holds an integer falls short of it by."""
    if not value.format.type.signed:
        return 0
    return -0x8000 if is_wide(value) else -0x80


def scales_of(format: Format) -> npt.NDArray[np.float32]:
    """The scales of a format, float32 and one-dimensional."""
    return np.array(format.scale, dtype=np.float32)


def _apart(name: str, taken: set[str]) -> str:
    """`name`, or the first numbered form of it that is not taken; takes it."""
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name}_{count}"
    taken.add(unique)
    return unique
