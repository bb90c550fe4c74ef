"""Random integer graphs, for tests that hold one execution to another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from bitsmith.ir.bounds import INT32_MAGNITUDE
from bitsmith.ir.dyadic import dyadic
from bitsmith.ir.formats import Format, IntegerArray, IntegerType, holding, logarithm
from bitsmith.ir.grids import (
    MINIFLOATS,
    TERNARY,
    Codebook,
    Grid,
    Grouped,
    minifloat,
    offset,
    power_sums,
    powers,
)
from bitsmith.ir.integer import (
    KNOT_MAGNITUDE,
    Add,
    AveragePool,
    Concat,
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
    Pad,
    Requantize,
    Reshape,
    Resize,
    Shape,
    Slice,
    Softmax,
    Table,
    Thresholds,
    Transpose,
    Value,
)
from bitsmith.ir.layer_norm import finer_bits, fraction_bits, gains
from bitsmith.ir.shapes import output_shape
from bitsmith.ir.softmax import exponentials, levels, thresholds
from bitsmith.ir.validate import validate

BITS = (8, 8, 8, 8, 4, 2, 7, 1, 16, 12)
GRIDS = ("offset", "ternary", "k-means", "powers", "power-sums", "groups", *MINIFLOATS)
KINDS = (
    "Conv",
    "Linear",
    "Add",
    "Mul",
    "MatMul",
    "Softmax",
    "LayerNorm",
    "AveragePool",
    "MaxPool",
    "Table",
    "InterpolatedTable",
    "Concat",
    "Reshape",
    "Transpose",
    "Slice",
    "Pad",
    "Resize",
)
COMMON = tuple(kind for kind in KINDS if kind not in ("MatMul", "Softmax", "LayerNorm", "InterpolatedTable"))
"""What every backend does."""


class Builder:
    """A graph under construction. What shapes it is drawn by hypothesis; weights come of one drawn seed."""

    def __init__(
        self, draw: Callable[[st.SearchStrategy[Any]], Any], bits: Sequence[int], grids: Sequence[str]
    ) -> None:
        self.draw = draw
        self.bits = bits
        self.grids = grids
        self.random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.values: dict[str, Value] = {}
        self.constants: dict[str, IntegerArray] = {}
        self.operations: list[Operation] = []
        self.inputs: list[str] = []
        self.hidden: set[str] = set()

    def integer(self, lowest: int, highest: int) -> int:
        """A drawn integer, both ends included."""
        return int(self.draw(st.integers(lowest, highest)))

    def choose(self, items: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(items))

    def one_in(self, many: int) -> bool:
        """True one time in so many."""
        return self.integer(1, many) == many

    def format(self) -> Format:
        kind = IntegerType(self.choose(self.bits), self.draw(st.booleans()))
        scale = float(self.random.uniform(0.001, 1.0))
        return Format(kind, (scale,), self.integer(kind.lowest, kind.highest))

    def value(self, prefix: str, shape: Shape, format: Format) -> str:
        name = f"{prefix}{len(self.values)}"
        self.values[name] = Value(name, shape, format)
        return name

    def input(self) -> str:
        """An input of up to two spatial axes."""
        space = self.draw(st.lists(st.integers(1, 6), max_size=2))
        name = self.value("x", (self.integer(1, 6), *space), self.format())
        self.inputs.append(name)
        return name

    def constant(self, like: Shape) -> str:
        """A constant that broadcasts to a shape, its leading axes perhaps left out."""
        shape = tuple(size if self.draw(st.booleans()) else 1 for size in like)[self.integer(0, len(like)) :]
        format = self.format()
        name = self.value("c", shape, format)
        self.constants[name] = self.integers(shape, format.type)
        return name

    def integers(self, shape: Shape, kind: IntegerType) -> IntegerArray:
        return self.random.integers(kind.lowest, kind.highest, shape, endpoint=True).astype(kind.storage)

    def weight_format(self, outputs: int, inputs: int, x: str) -> Format:
        """Of a weight of so many outputs of so many inputs: as a rule all integers of a type, else a grid."""
        scales = tuple(self.random.uniform(0.01, 1, outputs))
        if self.grids and self.one_in(2):
            grid = self.grid(outputs, inputs)
            # ONNX multiplies one wide operand at most.
            if holding(grid.lowest, grid.highest).bits <= 8 or self.values[x].format.type.bits <= 8:
                return Format(holding(grid.lowest, grid.highest), scales, axis=0, grid=grid)
        kind = IntegerType(self.choose([b for b in self.bits if b <= 8]), self.draw(st.booleans()))
        return Format(kind, scales, 0, 0) if self.draw(st.booleans()) else Format(kind, (0.1,))

    def grid(self, outputs: int, inputs: int) -> Grid:
        """A grid of any kind."""
        kind = self.choose(self.grids)
        bits = self.integer(2, 4)
        match kind:
            case "offset":
                return offset(bits, tuple(self.random.integers(0, 2, outputs).astype(bool).tolist()))
            case "ternary":
                return TERNARY
            case "k-means":
                levels = self.random.choice(np.arange(-127, 128), 1 << bits, replace=False)
                return Codebook((tuple(sorted(levels.tolist())),), kind)
            case "powers":
                return powers(bits)
            case "power-sums":
                return power_sums(2 * bits)
            case "groups":
                size = self.integer(1, inputs)
                shape = (outputs, -(-inputs // size))
                drawn = self.random.integers(1, self.choose((4, 255)), shape, endpoint=True)
                return Grouped(bits, size, tuple(map(tuple, drawn.tolist())))
            case _:
                return minifloat(kind)

    def weight(self, shape: Shape, chosen: Format) -> IntegerArray:
        """Integers of this format, all over its range."""
        if chosen.grid is None:
            return self.integers(shape, chosen.type)
        steps = self.random.uniform(chosen.grid.lowest, chosen.grid.highest, shape)
        shrunk = steps * self.random.choice((1.0, 0.1, 0.01), shape)
        return chosen.quantize(shrunk * chosen.scales_for(len(shape)))

    def magnitude(self, name: str) -> int:
        """The largest |x - zero_point| of a value."""
        format = self.values[name].format
        return max(format.type.highest - format.zero_point, format.zero_point - format.type.lowest)

    def add(
        self, kind: str, make: Callable[..., Operation], x: Sequence[str], format: Format, shape: Shape = ()
    ) -> None:
        """Append the operation that `make` makes of a name, inputs and output."""
        operation = make(f"{kind}_{len(self.operations)}", tuple(x), f"{kind.lower()}{len(self.values)}")
        made = output_shape(operation, [self.values[name].shape for name in x], shape)
        self.values[operation.output] = Value(operation.output, made, format)
        self.operations.append(operation)

    def requantize(self, magnitude: int, format: Format, multiplier: Shape = (1,)) -> Requantize:
        """A rule that mostly fills the result's range, with some saturation; at times any rule at all."""
        lowest, highest = format.type.lowest, format.type.highest
        if self.one_in(4):
            lowest, highest = sorted((self.integer(lowest, highest), self.integer(lowest, highest)))
        if self.one_in(6):
            multipliers = self.random.integers(1, 2**31 - 1, multiplier, endpoint=True)
            shift = self.integer(1, 62)
            return Requantize(
                multipliers, shift, format.zero_point, lowest, highest, self.caps(lowest, highest, multiplier)
            )
        span = (format.type.highest - format.type.lowest) * self.choose((0.5, 1.0, 8.0))
        ratios = span / max(magnitude, 1) * self.random.uniform(0.1, 1.0, multiplier)
        multipliers, shift = dyadic(np.minimum(ratios, 2.0**29))
        return Requantize(
            multipliers, shift, format.zero_point, lowest, highest, self.caps(lowest, highest, multiplier)
        )

    def caps(self, lowest: int, highest: int, shape: Shape) -> IntegerArray | None:
        """Upper bounds of this shape, or as a rule none."""
        return self.random.integers(lowest, highest, shape, endpoint=True) if self.one_in(4) else None

    def graph(self) -> IntegerGraph:
        """What was built; its outputs are the results that nothing reads."""
        read = {name for operation in self.operations for name in operation.inputs}
        outputs = [operation.output for operation in self.operations if operation.output not in read]
        inputs = [name for name in self.inputs if name in read]
        unused = set(self.inputs) - set(inputs)
        values = {name: value for name, value in self.values.items() if name not in unused}
        graph = IntegerGraph("random", values, tuple(inputs), tuple(outputs), tuple(self.operations), self.constants)
        validate(graph)
        return graph


@st.composite
def integer_graphs(
    draw: Callable[[st.SearchStrategy[Any]], Any],
    kinds: Sequence[str] = COMMON,
    most: int = 5,
    bits: Sequence[int] = BITS,
    grids: Sequence[str] = GRIDS,
) -> IntegerGraph:
    """Graphs of one to `most` operations of these kinds, over values of these bits. All accumulators fit.

    grids: what weights may be on besides all integers of a type.
    """
    build = Builder(draw, bits, grids)
    for _ in range(build.integer(1, 2)):
        build.input()
    for _ in range(build.integer(1, most)):
        # The latest value again and again, so that graphs are deep; an earlier one at times, so that they fork.
        known = [name for name in build.values if name not in build.constants and name not in build.hidden]
        x = known[-1] if build.draw(st.booleans()) else build.choose(known)
        possible = [kind for kind in kinds if APPLIES[kind](build, x)]
        if not possible:
            x = new_input_for(build, kinds)
            possible = [kind for kind in kinds if APPLIES[kind](build, x)]
        MAKERS[build.choose(possible)](build, x)
    return build.graph()


def new_input_for(build: Builder, kinds: Sequence[str]) -> str:
    """An input that some of the kinds can read."""
    format = Format(IntegerType(8), (0.5,), build.integer(-128, 127))
    name = build.value("x", (build.integer(1, 4), *(build.integer(1, 6) for _ in range(2))), format)
    build.inputs.append(name)
    return name


def is_image(build: Builder, x: str) -> bool:
    return len(build.values[x].shape) in (2, 3)


def conv(build: Builder, x: str) -> None:
    channels, *space = build.values[x].shape
    groups = build.choose([g for g in range(1, channels + 1) if channels % g == 0])
    outputs = groups * build.integer(1, 4)
    kernel, strides, pads, dilations = window(build, space, pads_below_kernel=False)
    weight_format = build.weight_format(outputs, channels // groups * math.prod(kernel), x)
    weight = build.weight((outputs, channels // groups, *kernel), weight_format)
    bias, magnitude = build_bias(build, weight, x)
    format = build.format()
    per_channel = (outputs, *(1,) * len(space)) if build.draw(st.booleans()) else (1,)
    rule = build.requantize(magnitude, format, per_channel)
    build.add(
        "Conv", lambda *n: Conv(*n, weight, bias, weight_format, strides, pads, dilations, groups, rule), [x], format
    )


def linear(build: Builder, x: str) -> None:
    features, outputs = build.values[x].shape[-1], build.integer(1, 6)
    weight_format = build.weight_format(outputs, features, x)
    weight = build.weight((outputs, features), weight_format)
    bias, magnitude = build_bias(build, weight, x)
    format = build.format()
    rule = build.requantize(magnitude, format, (outputs,) if build.draw(st.booleans()) else (1,))
    build.add("Linear", lambda *n: Linear(*n, weight, bias, weight_format, rule), [x], format)


def build_bias(build: Builder, weight: IntegerArray, x: str) -> tuple[npt.NDArray[np.int32], int]:
    """A bias beside which the sum of products still fits int32, and the bound of both."""
    products = int(np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1).max()) * build.magnitude(x)
    room = INT32_MAGNITUDE - products
    largest = min(room, INT32_MAGNITUDE if build.one_in(6) else products // 2)
    bias = build.random.integers(-largest, largest, len(weight), endpoint=True).astype(np.int32)
    return bias, products + largest


def operands(build: Builder, x: str) -> list[str]:
    """x and something that broadcasts with it, in either order."""
    shape = build.values[x].shape
    alike = [
        name
        for name, value in build.values.items()
        if name not in build.constants
        and name not in build.hidden
        and len(value.shape) == len(shape)
        and all(a == b or 1 in (a, b) for a, b in zip(value.shape, shape, strict=True))
    ]
    other = build.constant(shape) if build.draw(st.booleans()) else build.choose(alike)
    return [x, other] if build.draw(st.booleans()) else [other, x]


def add(build: Builder, x: str) -> None:
    pair = operands(build, x)
    magnitudes = [build.magnitude(name) for name in pair]
    # Sums of wide operands may pass what float64 holds.
    room = build.choose((2**24, 2**31, 2**54, 2**62)) - 1
    largest = [max(1, room // 2 // max(magnitude, 1)) for magnitude in magnitudes]
    drawn = [build.integer(1, limit) * build.choose((1, -1)) for limit in largest]
    reach = sum(abs(m) * magnitude for m, magnitude in zip(drawn, magnitudes, strict=True))
    format = build.format()
    lowest, highest = format.type.lowest, format.type.highest
    shift = min(max(1, reach.bit_length() - format.type.bits + build.integer(-2, 1)), 62)
    rule = Requantize(np.array([1]), shift, format.zero_point, lowest, highest)
    build.add("Add", lambda *n: Add(*n, (drawn[0], drawn[1]), rule), pair, format)


def mul(build: Builder, x: str) -> None:
    pair = operands(build, x)
    magnitude = math.prod(build.magnitude(name) for name in pair)
    if magnitude > INT32_MAGNITUDE:
        add(build, x)
        return
    format = build.format()
    build.add("Mul", lambda *n: Mul(*n, build.requantize(magnitude, format)), pair, format)


def matmul(build: Builder, x: str) -> None:
    """x times another value or an input made for it, in either order."""
    *lead, rows, inner = build.values[x].shape
    other = tuple(size if build.draw(st.booleans()) else 1 for size in lead)
    alike = [
        name
        for name, value in build.values.items()
        if name not in build.constants
        and name not in build.hidden
        and len(value.shape) == len(lead) + 2
        and all(a == b or 1 in (a, b) for a, b in zip(value.shape[:-2], lead, strict=True))
        and value.shape[-2] == inner
    ]
    if alike and build.draw(st.booleans()):
        pair = [x, build.choose(alike)]
    elif build.draw(st.booleans()):
        pair = [x, build.value("x", (*other, inner, build.integer(1, 5)), build.format())]
        build.inputs.append(pair[1])
    else:
        pair = [build.value("x", (*other, build.integer(1, 5), rows), build.format()), x]
        build.inputs.append(pair[0])
    magnitude = math.prod(build.magnitude(name) for name in pair) * build.values[pair[0]].shape[-1]
    format = build.format()
    if magnitude > INT32_MAGNITUDE:
        add(build, x)
        return
    rule = replace(build.requantize(magnitude, format), caps=None)
    build.add("MatMul", lambda *n: MatMul(*n, rule), pair, format)


def softmax(build: Builder, x: str) -> None:
    """A Softmax; at times to powers, which a product reads."""
    value, format = build.values[x], build.format()
    step = value.format.scale[0] * build.choose((1.0, 1.0, 0.1, 1e-4, 100.0))
    tables = exponentials(step, value.format.type.bits, value.shape[-1])
    rule = replace(build.requantize(1 << 30, format), caps=None)
    if len(value.shape) < 2 or build.one_in(2):
        build.add("Softmax", lambda *n: Softmax(*n, *tables, rule), [x], format)
        return
    bits = build.integer(1, 6)
    # Down to 2^-16, well within what an exponential holds.
    powers = logarithm(bits, build.choose([base for base in (1.2, 2**0.5, 2.0, 3.0) if base ** (1 << bits) <= 1 << 17]))
    build.add("Softmax", lambda *n: Softmax(*n, *tables, Thresholds(thresholds(powers))), [x], powers)
    shares = build.operations[-1].output
    *lead, _, inner = value.shape
    other = build.value("x", (*lead, inner, build.integer(1, 4)), replace(format, type=IntegerType(8), zero_point=-3))
    build.inputs.append(other)
    held = levels(powers, inner * build.magnitude(other))
    final = build.format()
    rescale = replace(build.requantize(int(held.max()) * inner * build.magnitude(other), final), caps=None)
    build.add("MatMul", lambda *n: MatMul(*n, rescale, held), [shares, other], final)
    # Nothing else may read powers.
    build.hidden.add(shares)


def layer_norm(build: Builder, x: str) -> None:
    """A LayerNorm, whose gains may be of either sign or 0, and its epsilon next to nothing or most of the variance."""
    count, format = build.values[x].shape[-1], build.format()
    span = format.type.highest - format.type.lowest
    fraction = fraction_bits(count)
    gain = build.random.normal(size=count) * span * build.choose((0.0, 0.01, 0.2, 0.2, 5.0))
    offset = build.random.normal(size=count) * span * build.choose((0.0, 0.1, 100.0))
    held = gains(gain, offset, fraction)
    span = max(build.magnitude(x), (1 << build.values[x].format.type.bits) - 1)
    finer = build.choose((0, finer_bits(count, span, 1.0)))
    epsilon = build.choose((1, 1, 1000, (count * build.magnitude(x)) ** 2 + 1))
    rule = Requantize(np.array([1]), held.shift, format.zero_point, format.type.lowest, format.type.highest)
    build.add(
        "LayerNorm", lambda *n: LayerNorm(*n, held.gain, held.offset, epsilon, finer, fraction, rule), [x], format
    )


def window(
    build: Builder, space: Sequence[int], pads_below_kernel: bool
) -> tuple[Shape, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """A kernel, strides, pads and dilations that fit a space."""
    kernel, strides, before, after, dilations = [], [], [], [], []
    for size in space:
        pads = [build.integer(0, 2), build.integer(0, 2)]
        taps = build.integer(1, min(3, size + sum(pads)))
        if pads_below_kernel:
            pads = [min(pad, taps - 1) for pad in pads]
            taps = min(taps, size + sum(pads))
            pads = [min(pad, taps - 1) for pad in pads]
        reach = (size + sum(pads) - 1) // max(taps - 1, 1)
        limit = min(reach, size) if pads_below_kernel and any(pads) else reach
        kernel.append(taps)
        strides.append(build.integer(1, 3))
        before.append(pads[0])
        after.append(pads[1])
        dilations.append(build.integer(1, max(1, min(limit, 3))))
    return tuple(kernel), tuple(strides), (*before, *after), tuple(dilations)


def average_pool(build: Builder, x: str) -> None:
    space = build.values[x].shape[1:]
    kernel, strides, pads, dilations = window(build, space, pads_below_kernel=False)
    if build.draw(st.booleans()):
        kernel, strides, pads, dilations = space, (1,) * len(space), (0,) * 2 * len(space), (1,) * len(space)
    format = build.format()
    magnitude = build.magnitude(x) * math.prod(kernel)
    shape = output_shape(AveragePool("", (x,), "", kernel, strides, pads, dilations, UNIT), [(1, *space)], ())
    per_position = shape if build.draw(st.booleans()) else (1,)
    rule = build.requantize(magnitude, format, per_position)
    build.add("AveragePool", lambda *n: AveragePool(*n, kernel, strides, pads, dilations, rule), [x], format)


UNIT = Requantize(np.array([1]), 1, 0, 0, 0)


def max_pool(build: Builder, x: str) -> None:
    value = build.values[x]
    attributes = window(build, value.shape[1:], pads_below_kernel=True)
    build.add("MaxPool", lambda *n: MaxPool(*n, *attributes), [x], value.format)


def table(build: Builder, x: str) -> None:
    value, format = build.values[x], build.format()
    rows = value.shape[0] if build.draw(st.booleans()) else 1
    entries = build.integers((rows, 1 << value.format.type.bits), format.type)
    function = Function("LeakyRelu", (("alpha", 0.1),), (((1,), (math.inf,)),))
    build.add("Table", lambda *n: Table(*n, entries, function), [x], format)


def interpolated_table(build: Builder, x: str) -> None:
    """Any knots, in segments of any width; results between them that reach the clamp, or hardly."""
    value, format = build.values[x], build.format()
    bits, kind = value.format.type.bits, format.type
    width = build.integer(max(0, bits - 10), min(9, bits))
    places = build.random.integers(build.choose((0, width)), width, 1 << (bits - width), endpoint=True)
    sizes = 1 << (width - places)
    ends = np.cumsum(sizes)
    if ends[-1] > 1 << 15:
        places, sizes = np.full_like(places, width), np.ones_like(sizes)
        ends = np.cumsum(sizes)
    rows = value.shape[0] if build.draw(st.booleans()) else 1
    limit = build.choose((KNOT_MAGNITUDE, min(1 << (kind.bits + 4), KNOT_MAGNITUDE)))
    knots = build.random.integers(-limit, limit, (rows, int(ends[-1]) + 1), endpoint=True)
    function = Function("LeakyRelu", (("alpha", 0.1),), (((1,), (math.inf,)),))
    clamp = sorted(build.integer(kind.lowest, kind.highest) for _ in range(2)) if build.one_in(3) else None
    lowest, highest = clamp or (kind.lowest, kind.highest)
    build.add(
        "InterpolatedTable",
        lambda *n: InterpolatedTable(*n, knots, ends - sizes, places, width, lowest, highest, function),
        [x],
        format,
    )


def concat(build: Builder, x: str) -> None:
    value = build.values[x]
    axis = build.integer(0, len(value.shape) - 1)

    def off_axis(shape: Shape) -> tuple[Shape, Shape]:
        return shape[:axis], shape[axis + 1 :]

    alike = [
        name
        for name, other in build.values.items()
        if name not in build.constants
        and name not in build.hidden
        and other.format == value.format
        and len(other.shape) == len(value.shape)
        and off_axis(other.shape) == off_axis(value.shape)
    ]
    parts = [build.choose(alike) for _ in range(build.integer(1, 3))]
    build.add("Concat", lambda *n: Concat(*n, axis), [x, *parts], value.format)


def reshape(build: Builder, x: str) -> None:
    value = build.values[x]
    size, shape = math.prod(value.shape), []
    for _ in range(build.integer(0, 2)):
        shape.append(build.choose([d for d in range(1, size + 1) if size % d == 0]))
        size //= shape[-1]
    build.add("Reshape", Reshape, [x], value.format, (*shape, size))


def transpose(build: Builder, x: str) -> None:
    value = build.values[x]
    permutation = tuple(build.draw(st.permutations(range(len(value.shape)))))
    build.add("Transpose", lambda *n: Transpose(*n, permutation), [x], value.format)


def slice_(build: Builder, x: str) -> None:
    value = build.values[x]
    starts, steps, sizes = [], [], []
    for size in value.shape:
        start, step = build.integer(0, size - 1), build.choose((1, 1, 2, 3, -1, -2))
        room = (size - 1 - start) // step if step > 0 else start // -step
        starts.append(start)
        steps.append(step)
        sizes.append(1 + build.integer(0, room))
    build.add("Slice", lambda *n: Slice(*n, tuple(starts), tuple(steps)), [x], value.format, tuple(sizes))


def pad(build: Builder, x: str) -> None:
    value = build.values[x]
    kind = value.format.type
    pads = tuple(build.integer(0, 2) for _ in range(2 * len(value.shape)))
    filler = build.integer(kind.lowest, kind.highest)
    build.add("Pad", lambda *n: Pad(*n, pads, filler), [x], value.format)


def resize(build: Builder, x: str) -> None:
    value = build.values[x]
    indices = tuple(
        tuple(build.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=6))) for size in value.shape
    )
    build.add("Resize", lambda *n: Resize(*n, indices), [x], value.format)


def always(build: Builder, x: str) -> bool:
    return True


MAKERS: dict[str, Callable[[Builder, str], None]] = {
    "Conv": conv,
    "Linear": linear,
    "Add": add,
    "Mul": mul,
    "MatMul": matmul,
    "Softmax": softmax,
    "LayerNorm": layer_norm,
    "AveragePool": average_pool,
    "MaxPool": max_pool,
    "Table": table,
    "InterpolatedTable": interpolated_table,
    "Concat": concat,
    "Reshape": reshape,
    "Transpose": transpose,
    "Slice": slice_,
    "Pad": pad,
    "Resize": resize,
}
APPLIES: dict[str, Callable[[Builder, str], bool]] = {
    **dict.fromkeys(KINDS, always),
    **dict.fromkeys(("Conv", "AveragePool", "MaxPool", "MatMul"), is_image),
}
