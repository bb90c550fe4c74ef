"""An integer graph under construction, operation by operation, at one width of weights and one of activations.

Weights are random integers; nothing is meant by them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.ir.bounds import INT32_MAGNITUDE
from bitsmith.ir.dyadic import dyadic
from bitsmith.ir.formats import Format, IntegerArray, IntegerType, holding
from bitsmith.ir.grids import TERNARY, Codebook, offset
from bitsmith.ir.integer import (
    Add,
    AveragePool,
    Conv,
    Function,
    IntegerGraph,
    InterpolatedTable,
    LayerNorm,
    Linear,
    MatMul,
    MaxPool,
    Mul,
    Operation,
    Requantize,
    Shape,
    Softmax,
    Table,
    Value,
)
from bitsmith.ir.layer_norm import fraction_bits, gains
from bitsmith.ir.shapes import output_shape
from bitsmith.ir.softmax import exponentials

LEVELS = (-117, -90, -71, -55, -41, -28, -17, -6, 5, 15, 26, 38, 52, 69, 88, 113)
"""Of a codebook."""

ZERO_POINT = 5
"""Of what follows no Relu."""

FUNCTION = Function("LeakyRelu", (("alpha", 0.1),), (((1,), (math.inf,)),))


@dataclass(frozen=True)
class Widths:
    """weights: bits of an integer, or `ternary`, or `codebook`. activations: bits of each."""

    weights: int | str
    activations: int


class Network:
    """An integer graph under construction: each operation reads what the last one made, unless it is told otherwise."""

    def __init__(self, name: str, widths: Widths, shape: Shape) -> None:
        self._name, self._widths = name, widths
        self._random = np.random.default_rng(0)
        self._values: dict[str, Value] = {}
        self._operations: list[Operation] = []
        self._inputs: list[str] = []
        self.last = self.input(shape)

    def input(self, shape: Shape) -> str:
        """One more input of the network."""
        name = f"x{len(self._inputs)}"
        self._values[name] = Value(name, shape, self._format(-7))
        self._inputs.append(name)
        return name

    def conv(
        self, outputs: int, kernel: int | Shape, stride: int = 1, pad: int = 0, groups: int = 1, dilation: int = 1
    ) -> str:
        """A convolution of so many groups; 0 for one that is depthwise."""
        channels, *space = self._values[self.last].shape
        taps = (kernel,) * len(space) if isinstance(kernel, int) else kernel
        groups = groups or channels
        weight, format = self._weight((outputs, channels // groups, *taps))
        bias, rule = self._after(weight, (outputs, *(1,) * len(space)))
        strides, pads, dilations = ((one,) * len(space) for one in (stride, pad, dilation))
        return self._apply(Conv, weight, bias, format, strides, pads * 2, dilations, groups, rule)

    def linear(self, outputs: int) -> str:
        """A Linear layer."""
        weight, format = self._weight((outputs, self._values[self.last].shape[-1]))
        bias, rule = self._after(weight, (outputs,))
        return self._apply(Linear, weight, bias, format, rule)

    def add(self, other: str) -> str:
        """The sum with another value."""
        bits = self._widths.activations
        room = (INT32_MAGNITUDE >> (bits + 1), 23) if bits <= 8 else (1 << 20, 21)
        rule = Requantize(np.array([1]), room[1], ZERO_POINT, *self._range())
        return self._apply(Add, (room[0] // 2, room[0] // 3), rule, others=(other,))

    def mul(self, other: str) -> str:
        """The product with another value."""
        return self._apply(Mul, self._rule(self._reach() ** 2), others=(other,))

    def matmul(self, other: str) -> str:
        """The matrix product with another value."""
        reach = self._reach() ** 2 * self._values[self.last].shape[-1]
        return self._apply(MatMul, self._rule(reach), others=(other,))

    def average(self, kernel: int = 0, stride: int = 1, pad: int = 0) -> str:
        """An average of windows, or of all."""
        space = self._values[self.last].shape[1:]
        taps = (kernel,) * len(space) if kernel else space
        rule = self._rule(self._reach() * math.prod(taps))
        strides, pads, dilations = ((one,) * len(space) for one in (stride, pad, 1))
        return self._apply(AveragePool, taps, strides, pads * 2, dilations, rule)

    def maximum(self, kernel: int, stride: int, pad: int = 0) -> str:
        """The largest element of each window."""
        sides = len(self._values[self.last].shape) - 1
        taps, strides, pads, dilations = ((one,) * sides for one in (kernel, stride, pad, 1))
        return self.move(MaxPool, taps, strides, pads * 2, dilations)

    def table(self, rows: int = 1) -> str:
        """A function of each element; of more than 8 bits, between knots."""
        bits, (lowest, highest) = self._widths.activations, self._range()
        if bits <= 8:
            entries = self._random.integers(lowest, highest, (rows, 1 << bits)).astype(IntegerType(bits).storage)
            return self._apply(Table, entries, FUNCTION)
        places = np.full(1 << (bits - 9), 4)
        ends = np.cumsum(1 << (9 - places))
        knots = self._random.integers(-(1 << 18), 1 << 18, (rows, int(ends[-1]) + 1))
        starts = ends - (1 << (9 - places))
        return self._apply(InterpolatedTable, knots, starts, places, 9, lowest, highest, FUNCTION)

    def softmax(self) -> str:
        """Of the last axis."""
        value = self._values[self.last]
        tables = exponentials(value.format.scale[0], value.format.type.bits, value.shape[-1])
        return self._apply(Softmax, *tables, self._rule(1 << 30))

    def layer_norm(self) -> str:
        """Over the last axis."""
        count = self._values[self.last].shape[-1]
        fraction = fraction_bits(count)
        lowest, highest = self._range()
        gain, offset = self._random.normal(size=(2, count)) * (highest - lowest) / 5
        held = gains(gain, offset, fraction)
        rule = Requantize(np.array([1]), held.shift, ZERO_POINT, lowest, highest)
        return self._apply(LayerNorm, held.gain, held.offset, 1000, 0, fraction, rule)

    def move(self, make: Callable[..., Operation], *fields: Any, others: Sequence[str] = (), shape: Shape = ()) -> str:
        """An operation whose result has the format of what it reads. fields: those behind its name and values."""
        return self._apply(make, *fields, others=others, keeps=True, declared=shape)

    @property
    def is_wide(self) -> bool:
        """Whether activations take two bytes."""
        return self._widths.activations > 8

    def shape(self) -> Shape:
        """Of the last value."""
        return self._values[self.last].shape

    def graph(self) -> IntegerGraph:
        """What was built: what nothing reads is an output."""
        read = {name for operation in self._operations for name in operation.inputs}
        outputs = tuple(one.output for one in self._operations if one.output not in read)
        return IntegerGraph(self._name, self._values, tuple(self._inputs), outputs, tuple(self._operations))

    def _after(self, weight: IntegerArray, per_channel: Shape) -> tuple[npt.NDArray[np.int32], Requantize]:
        """A bias and a requantize step: as a rule with a Relu, and with a multiplier for each channel."""
        magnitude = int(np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1).max()) * self._reach()
        bias = self._random.integers(-1000, 1000, len(weight)).astype(np.int32)
        count = len(self._operations)
        shape = (1,) if count % 4 == 3 else per_channel
        # What a Relu makes has its zero at the least integer.
        return bias, self._rule(magnitude + 1000, shape, ZERO_POINT if count % 3 == 2 else self._range()[0])

    def _apply(
        self,
        make: Callable[..., Operation],
        *fields: Any,
        others: Sequence[str] = (),
        keeps: bool = False,
        declared: Shape = (),
    ) -> str:
        inputs = (self.last, *others)
        operation = make(f"step_{len(self._operations)}", inputs, f"y{len(self._operations)}", *fields)
        shape = output_shape(operation, [self._values[name].shape for name in inputs], declared)
        zero_point = next((field.zero_point for field in fields if isinstance(field, Requantize)), ZERO_POINT)
        format = self._values[self.last].format if keeps else self._format(zero_point)
        self._values[operation.output] = Value(operation.output, shape, format)
        self._operations.append(operation)
        self.last = operation.output
        return self.last

    def _format(self, zero_point: int) -> Format:
        return Format(IntegerType(self._widths.activations), (0.05,), zero_point)

    def _range(self) -> tuple[int, int]:
        kind = IntegerType(self._widths.activations)
        return kind.lowest, kind.highest

    def _reach(self) -> int:
        format = self._values[self.last].format
        return max(format.type.highest - format.zero_point, format.zero_point - format.type.lowest)

    def _rule(self, magnitude: int, shape: Shape = (1,), zero_point: int = ZERO_POINT) -> Requantize:
        lowest, highest = self._range()
        ratios = (highest - lowest) / magnitude * self._random.uniform(0.5, 1.0, shape)
        multiplier, shift = dyadic(ratios)
        return Requantize(multiplier, shift, zero_point, lowest, highest)

    def _weight(self, shape: Shape) -> tuple[IntegerArray, Format]:
        outputs, scales = shape[0], tuple(self._random.uniform(0.01, 1.0, shape[0]))
        grid: Codebook
        match self._widths.weights:
            case "ternary":
                grid = TERNARY
            case "codebook":
                grid = Codebook((LEVELS,), "k-means")
            case 2:
                grid = offset(2, tuple(self._random.integers(0, 2, outputs).astype(bool).tolist()))
            case bits:
                narrow = IntegerType(int(bits))
                drawn = self._random.integers(-narrow.highest, narrow.highest, shape, endpoint=True)
                return drawn.astype(narrow.storage), Format(narrow, scales, axis=0)
        format = Format(holding(grid.lowest, grid.highest), scales, axis=0, grid=grid)
        steps = self._random.uniform(grid.lowest, grid.highest, shape)
        return format.quantize(steps * format.scales_for(len(shape))), format
