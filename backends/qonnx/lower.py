"""An integer graph as a QONNX model whose float execution gives the same integers, times their scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import singledispatchmethod

import numpy as np
import numpy.typing as npt
import onnx

from bitsmith.backends.qonnx.exact import (
    exponent,
    exponents,
    half_steps,
    reciprocal,
    require_exact,
    require_symmetric,
    right_shifts,
)
from bitsmith.backends.qonnx.tables import lower_table
from bitsmith.backends.qonnx.writer import Writer
from bitsmith.errors import UnsupportedError
from bitsmith.ir.bounds import Interval, bounds
from bitsmith.ir.formats import Format, IntegerArray, holding
from bitsmith.ir.integer import (
    Add,
    AveragePool,
    Concat,
    Conv,
    IntegerGraph,
    InterpolatedTable,
    Linear,
    MaxPool,
    Mul,
    Operation,
    Pad,
    Requantize,
    Reshape,
    Resize,
    Shape,
    Slice,
    Table,
    Transpose,
)
from bitsmith.ir.interpolation import written_out


def build_model(graph: IntegerGraph) -> onnx.ModelProto:
    """The QONNX model of a graph: standard float ops around Quant nodes, tensors named as the graph's values.

    Inputs and outputs are reals, of one sample. Raises UnsupportedError, naming the operation, for whatever cannot be
    exact.
    """
    return Lowering(graph).model()


class Lowering:
    """Writes each operation as float ops that stay exact, then one Quant node with rounding mode FLOOR.

    `floor(x + 1/2)` is round half up. The half step is part of the bias where there is one, so it costs nothing.

    The methods under "layout" say where channels are. Here they come first, as in all of ONNX.
    """

    window_domain = ""
    """Of Conv and MaxPool nodes."""

    def __init__(self, graph: IntegerGraph) -> None:
        self.graph = graph
        self.bounds = bounds(graph)
        self.writer = Writer([*graph.values, *(f"{name}_input" for name in graph.inputs)])
        self.owners: dict[str, str] = {}
        """The operation that each tensor was written for, by the tensor's name."""

    def model(self) -> onnx.ModelProto:
        graph, writer = self.graph, self.writer
        for value in graph.values.values():
            require_symmetric(value)
        renamed = {name: f"{name}_input" for name in graph.inputs}
        for name in graph.inputs:
            writer.quant(renamed[name], name, graph.values[name].format, rounding="ROUND")
            writer.shapes[name] = (1, *self.placed(graph.values[name].shape))
        for name, integers in graph.constants.items():
            kind = graph.values[name].format
            writer.quant(writer.constant(f"{name}_real", kind.dequantize(integers)), name, kind, rounding="ROUND")
            writer.shapes[name] = integers.shape
        for operation in graph:
            self.lower(operation)
            shape = (1, *self.placed(graph.result(operation).shape))
            for node in writer.nodes:
                writer.shapes.setdefault(node.output[0], shape)
                self.owners.setdefault(node.output[0], operation.name)
        return writer.model(
            graph.name,
            [(renamed[name], self.placed(graph.values[name].shape)) for name in graph.inputs],
            [(name, self.placed(graph.values[name].shape)) for name in graph.outputs],
        )

    # Layout.

    def placed(self, shape: Shape) -> Shape:
        """The shape of a sample as it is written."""
        return shape

    def kernel(self, weight: IntegerArray) -> IntegerArray:
        """The weight of a convolution, (filters, channels, *kernel), as it is written."""
        return weight

    def grouped(self, weight: IntegerArray, groups: int) -> tuple[IntegerArray, int]:
        """The weight of a convolution in so many groups, and the groups that it is written in."""
        return weight, groups

    def columns(self, operation: Linear) -> IntegerArray:
        """The weight of a product, (outputs, inputs), with its inputs in the order that they are written in."""
        return operation.weight

    def concatenated(self, operation: Concat) -> int:
        """The axis of a Concat, the batch dimension counted."""
        return operation.axis + 1

    # Operations.

    @singledispatchmethod
    def lower(self, operation: Operation) -> None:
        raise UnsupportedError(f"{operation.kind} has no form in QONNX", where=operation.name)

    @lower.register
    def _(self, operation: Conv) -> None:
        bias, kind = self._bias(operation)
        weight, groups = self.grouped(operation.weight, operation.groups)
        held = self._held(operation, self.kernel(weight), operation.weight_format)
        self._conv(operation, held, bias, kind, groups)

    def _conv(
        self, operation: Conv | AveragePool, weight: str, bias: npt.NDArray[np.int64], bias_format: Format, groups: int
    ) -> None:
        inputs = [operation.inputs[0], weight]
        if bias.any():
            inputs.append(self.writer.quantized_constant(f"{operation.output}_bias", bias, bias_format))
        kernel = operation.kernel if isinstance(operation, AveragePool) else operation.weight.shape[2:]
        made = self.writer.node(
            "Conv",
            inputs,
            self.writer.fresh(f"{operation.output}_sum"),
            kernel_shape=list(kernel),
            strides=list(operation.strides),
            pads=list(operation.pads),
            dilations=list(operation.dilations),
            group=groups,
            domain=self.window_domain,
        )
        self._requantize(operation, made, operation.requantize)

    @lower.register
    def _(self, operation: Linear) -> None:
        bias, kind = self._bias(operation)
        axis = None if operation.weight_format.axis is None else 1
        weight_format = replace(operation.weight_format, axis=axis, grid=None)
        weight = self._held(operation, self.columns(operation).T, weight_format)
        made = self.writer.node("MatMul", [operation.inputs[0], weight], self.writer.fresh(f"{operation.output}_sum"))
        if bias.any():
            held = self.writer.quantized_constant(f"{operation.output}_bias", bias, kind)
            made = self.writer.node("Add", [made, held], self.writer.fresh(f"{operation.output}_biased"))
        self._requantize(operation, made, operation.requantize)

    @lower.register
    def _(self, operation: AveragePool) -> None:
        """A depthwise convolution: every weight is the reciprocal of the count."""
        source, result = self.graph.values[operation.inputs[0]], self.graph.result(operation)
        count = int(np.prod(operation.kernel))
        given = self.bounds.values[operation.inputs[0]]
        # Padding adds nothing to a sum, so any part of a window may be missing.
        narrow = reciprocal(operation, Interval(min(given.lowest, 0) * count, max(given.highest, 0) * count))
        step = exponent(result.format, result.name) - exponent(source.format, source.name) - narrow.shift
        channels = source.shape[0]
        weight, groups = self.grouped(np.full((channels, 1, *operation.kernel), narrow.multiplier, np.int64), channels)
        held = self._held(operation, self.kernel(weight), Format(holding(0, narrow.multiplier), (2.0**step,)))
        half = np.full(channels, 1 << (narrow.shift - 1), np.int64)
        accumulator = 2.0 ** (step + exponent(source.format, source.name))
        self._conv(operation, held, half, _holding(half, (accumulator,), None), groups)

    @lower.register
    def _(self, operation: Add) -> None:
        formats = [self.graph.values[name].format for name in operation.inputs]
        result = self.graph.result(operation).format
        output = exponent(result, operation.output)
        steps = [exponent(kind, name) for kind, name in zip(formats, operation.inputs, strict=True)]
        for step, multiplier in zip(steps, operation.multipliers, strict=True):
            own = replace(operation.requantize, multiplier=np.array([abs(multiplier)]), caps=None)
            right_shifts(operation, own, np.array([step - output]))
        if min(operation.multipliers) < 0 and operation.multipliers[0] < 0:
            raise UnsupportedError("it negates its first operand", where=f"Add {operation.name}")
        finest = min(*steps, output - 1)
        ranges = [
            self.bounds.values[name].magnitude << (step - finest)
            for name, step in zip(operation.inputs, steps, strict=True)
        ]
        require_exact(operation, sum(ranges) + (1 << (output - finest)))
        op = "Sub" if operation.multipliers[1] < 0 else "Add"
        made = self.writer.node(op, operation.inputs, self.writer.fresh(f"{operation.output}_sum"))
        self._requantize(operation, self._with_half(operation, made, output - min(steps)), operation.requantize)

    @lower.register
    def _(self, operation: Mul) -> None:
        result = self.graph.result(operation).format
        output = exponent(result, operation.output)
        product = sum(exponent(self.graph.values[name].format, name) for name in operation.inputs)
        right_shifts(operation, operation.requantize, np.array([product - output]))
        shift = output - product
        require_exact(operation, self.bounds.accumulators[operation.name] + (1 << max(shift - 1, 0)))
        made = self.writer.node("Mul", operation.inputs, self.writer.fresh(f"{operation.output}_product"))
        self._requantize(operation, self._with_half(operation, made, shift), operation.requantize)

    @lower.register
    def _(self, operation: MaxPool) -> None:
        self.writer.node(
            "MaxPool",
            operation.inputs,
            operation.output,
            kernel_shape=list(operation.kernel),
            strides=list(operation.strides),
            pads=list(operation.pads),
            dilations=list(operation.dilations),
            domain=self.window_domain,
        )

    @lower.register
    def _(self, operation: Concat) -> None:
        self.writer.node("Concat", operation.inputs, operation.output, axis=self.concatenated(operation))

    @lower.register
    def _(self, operation: Reshape) -> None:
        source, result = self.graph.values[operation.inputs[0]].shape, self.graph.result(operation).shape
        if len(result) == 1 and len(source) > 1:
            self.writer.node("Flatten", operation.inputs, operation.output, axis=1)
            return
        shape = self.writer.constant(f"{operation.output}_shape", [-1, *result], np.int64)
        self.writer.node("Reshape", [*operation.inputs, shape], operation.output)

    @lower.register
    def _(self, operation: Transpose) -> None:
        permutation = [0, *(axis + 1 for axis in operation.permutation)]
        self.writer.node("Transpose", operation.inputs, operation.output, perm=permutation)

    @lower.register
    def _(self, operation: Slice) -> None:
        shape = self.graph.result(operation).shape
        ends = [start + step * size for start, step, size in zip(operation.starts, operation.steps, shape, strict=True)]
        # An end before the first element, which -1 would not say: -1 is the last.
        ends = [end if end >= 0 else -(1 << 31) for end in ends]
        parts = [operation.starts, ends, list(range(1, len(shape) + 1)), operation.steps]
        names = [
            self.writer.constant(f"{operation.output}_{role}", part, np.int64)
            for role, part in zip(("starts", "ends", "axes", "steps"), parts, strict=True)
        ]
        self.writer.node("Slice", [*operation.inputs, *names], operation.output)

    @lower.register
    def _(self, operation: Pad) -> None:
        rank = len(operation.pads) // 2
        pads = [0, *operation.pads[:rank], 0, *operation.pads[rank:]]
        names = [
            self.writer.constant(f"{operation.output}_pads", pads, np.int64),
            self.writer.constant(
                f"{operation.output}_value", self.graph.result(operation).format.dequantize(operation.value)
            ),
        ]
        self.writer.node("Pad", [*operation.inputs, *names], operation.output, mode="constant")

    @lower.register
    def _(self, operation: Resize) -> None:
        """Each axis by itself: what an index reads is written down."""
        shape = self.graph.values[operation.inputs[0]].shape
        moved = [axis for axis, indices in enumerate(operation.indices) if tuple(indices) != tuple(range(shape[axis]))]
        made = operation.inputs[0]
        for axis in moved or [0]:
            indices = self.writer.constant(f"{operation.output}_indices", operation.indices[axis], np.int64)
            output = operation.output if axis == (moved or [0])[-1] else self.writer.fresh(f"{operation.output}_part")
            made = self.writer.node("Gather", [made, indices], output, axis=axis + 1)
            shape = (*shape[:axis], len(operation.indices[axis]), *shape[axis + 1 :])
            self.writer.shapes[made] = (1, *shape)

    @lower.register
    def _(self, operation: Table) -> None:
        lower_table(self.writer, self.graph, operation)

    @lower.register
    def _(self, operation: InterpolatedTable) -> None:
        lower_table(self.writer, self.graph, written_out(operation, self.graph.result(operation).format.type))

    def _held(self, operation: Operation, integers: IntegerArray, kind: Format) -> str:
        return self.writer.quantized_constant(f"{operation.output}_weight", integers, kind)

    def _bias(self, operation: Conv | Linear) -> tuple[npt.NDArray[np.int64], Format]:
        """The bias with half an output step added, and its format: the accumulator's."""
        where = f"{operation.kind} {operation.name}"
        source, result = self.graph.values[operation.inputs[0]].format, self.graph.result(operation).format
        sums = exponent(source, where) + exponents(operation.weight_format, f"weight of {where}")
        right_shifts(operation, operation.requantize, sums - exponent(result, where))
        half = half_steps(exponent(result, where) - sums)
        require_exact(operation, self.bounds.accumulators[operation.name] + int(half.max()))
        bias = operation.bias.astype(np.int64) + half
        scales = tuple(2.0 ** sums.astype(np.float64))
        return bias, _holding(bias, scales, None if len(scales) == 1 else 0)

    def _with_half(self, operation: Operation, made: str, shift: int) -> str:
        """Half an output step on top of a sum that has no bias, where bits are shifted out."""
        if shift <= 0:
            return made
        result = self.graph.result(operation).format
        kind = Format(holding(0, 1), (result.scale[0] / 2,))
        half = self.writer.quantized_constant(f"{operation.output}_half", np.ones((), np.int64), kind)
        return self.writer.node("Add", [made, half], self.writer.fresh(f"{operation.output}_rounded"))

    def _requantize(self, operation: Operation, made: str, rule: Requantize) -> None:
        """The clamp and the rounding, as Relu, Quant and whatever else the clamp asks for."""
        result, writer = self.graph.result(operation), self.writer
        kind = result.format
        if rule.lowest >= 0:
            made = writer.node("Relu", [made], writer.fresh(f"{operation.output}_relu"))
        inner = rule.lowest in (kind.type.lowest, 0) and rule.highest == kind.type.highest and rule.caps is None
        rounded = operation.output if inner else writer.fresh(f"{operation.output}_rounded")
        writer.quant(made, rounded, kind)
        if inner:
            return
        # Bounds within the type, on the grid already.
        steps: list[Callable[[str], str]] = []
        if rule.lowest not in (kind.type.lowest, 0) or rule.highest != kind.type.highest:
            ends = [
                writer.constant(f"{operation.output}_bound", kind.dequantize(one))
                for one in (rule.lowest, rule.highest)
            ]
            steps.append(lambda output: writer.node("Clip", [rounded, *ends], output))
        if rule.caps is not None:
            shape = (1, *rule.caps.shape)
            caps = writer.constant(f"{operation.output}_caps", kind.dequantize(rule.caps).reshape(shape))
            clipped = rounded if not steps else writer.fresh(f"{operation.output}_clipped")
            steps.append(lambda output: writer.node("Min", [clipped, caps], output))
            if len(steps) == 2:
                steps[0](clipped)
        steps[-1](operation.output)


def _holding(integers: npt.NDArray[np.int64], scales: tuple[float, ...], axis: int | None) -> Format:
    """The narrowest signed format of these integers, of 2 bits at least: 1 signed bit is bipolar in QONNX."""
    kind = holding(int(integers.min()), int(integers.max()))
    return Format(replace(kind, bits=max(kind.bits, 2)), scales, axis=axis)
