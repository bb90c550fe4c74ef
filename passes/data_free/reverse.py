"""The reverse pass of a normalised graph, written as ONNX nodes, so that ONNX Runtime computes gradients.

One rule per op: given g, the gradient of a loss in the op's output, it adds nodes that make the gradient in each
operand that is computed. The input gradient of a convolution is a transposed convolution, that of a product a
product with the transposed matrix, and what moves elements is undone by what moves them back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.ir.elementwise import FUNCTIONS
from bitsmith.ir.fusion import channel_caps, is_product
from bitsmith.ir.graph import Graph, Node, Value

Shape = Sequence[int | None]

STEP = 2.0**-8
"""To either side of a value, for the slope of a function that has no rule of its own."""


@dataclass(frozen=True)
class Tape:
    """Where gradient nodes are written."""

    graph: Graph

    def constant(self, array: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> Value:
        return self.graph.add_constant("gradient.constant", np.asarray(array, dtype))

    def add(self, op: str, operands: Sequence[Value | None], like: Value | Shape, **attributes: Any) -> Value:
        """The output of a new node, of the shape of `like`."""
        shape = like.shape if isinstance(like, Value) else like
        return self.graph.add_node(op, operands, f"gradient.{op}", shape, **attributes).output

    def times(self, gradient: Value, factor: npt.ArrayLike) -> Value:
        return self.add("Mul", [gradient, self.constant(factor)], gradient)

    def where(self, condition: Value, gradient: Value, otherwise: Value | None = None) -> Value:
        return self.add("Where", [condition, gradient, otherwise or self.constant(0.0)], gradient)

    def compared(self, op: str, value: Value, bound: npt.ArrayLike) -> Value:
        held = self.constant(bound)
        return self.graph.add_node(op, [value, held], f"gradient.{op}", value.shape, np.bool_).output

    def summed_to(self, gradient: Value, operand: Value) -> Value:
        """A gradient summed over the axes along which `operand` was broadcast."""
        axes = [
            axis
            for axis, (wide, own) in enumerate(zip(gradient.shape, operand.shape, strict=True))
            if own == 1 and wide != 1
        ]
        if not axes:
            return gradient
        return self.add("ReduceSum", [gradient, self.constant(axes, np.int64)], operand, keepdims=1)


Rule = Callable[[Tape, Node, Value], list[tuple[Value, Value]]]
"""(tape, node, gradient of its output) -> (operand, gradient that it adds to the operand's)."""


def reverse(tape: Tape, gradients: dict[Value, Value], nodes: Sequence[Node]) -> dict[Value, Value]:
    """Gradients in every value that `nodes`, in execution order, lead from, where `gradients` has those of some."""
    total = dict(gradients)
    for node in reversed(nodes):
        if node.output not in total:
            continue
        for operand, part in RULES[node.op](tape, node, total[node.output]):
            total[operand] = tape.add("Add", [total[operand], part], operand) if operand in total else part
    return total


def unknown(nodes: Sequence[Node]) -> list[Node]:
    """The nodes that have no rule."""
    return [node for node in nodes if node.op not in RULES or is_product(node)]


def _conv(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    x, weight = node.operand(0), node.array(1)
    window = {
        name: [int(size) for size in node.attribute(name)] for name in ("kernel_shape", "strides", "pads", "dilations")
    }
    return [(x, _transposed(tape, g, x, weight, group=int(node.attribute("group")), **window))]


def _transposed(
    tape: Tape,
    g: Value,
    x: Value,
    weight: npt.NDArray[Any],
    *,
    group: int,
    kernel_shape: list[int],
    strides: list[int],
    pads: list[int],
    dilations: list[int],
) -> Value:
    """What a convolution of x took from each element of x, given back; some last rows no window may have read."""
    rank = len(kernel_shape)
    made = [
        stride * ((size or 1) - 1) + dilation * (kernel - 1) + 1
        for size, stride, kernel, dilation in zip(g.shape[2:], strides, kernel_shape, dilations, strict=True)
    ]
    # Without padding first: what ConvTranspose may add behind is less than a stride, and pads may be uneven.
    grown = tape.add(
        "ConvTranspose",
        [g, tape.constant(weight)],
        (None, x.shape[1], *made),
        group=group,
        kernel_shape=kernel_shape,
        strides=strides,
        dilations=dilations,
        pads=[0] * (2 * rank),
    )
    before = [-pads[axis] for axis in range(rank)]
    after = [(x.shape[2 + axis] or 1) - made[axis] - before[axis] for axis in range(rank)]
    if not any(before) and not any(after):
        return grown
    return _padded(tape, grown, x, [0, 0, *before, 0, 0, *after])


def _padded(tape: Tape, g: Value, like: Value, pads: Sequence[int]) -> Value:
    """g with zeros around it, or less of it where pads are negative."""
    return tape.add("Pad", [g, tape.constant(pads, np.int64), tape.constant(0.0)], like, mode="constant")


def _gemm(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    weight = node.array(1)
    return [(node.operand(0), tape.add("MatMul", [g, tape.constant(weight)], node.operand(0)))]


def _matmul(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    weight = node.array(1)
    return [(node.operand(0), tape.add("MatMul", [g, tape.constant(weight.T)], node.operand(0)))]


def _relu(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    return [(node.operand(0), tape.where(tape.compared("Greater", node.operand(0), 0.0), g))]


def _clip(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    x, low, high = node.operand(0), node.constant(1), node.constant(2)
    part = g if low is None else tape.where(tape.compared("Greater", x, low), g)
    return [(x, part if high is None else tape.where(tape.compared("Less", x, high), part))]


def _min(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    caps, x = channel_caps(node), node.operand(0)
    assert caps is not None
    return [(x, tape.where(tape.compared("Less", x, caps.reshape(-1, *[1] * (x.rank - 2))), g))]


def _leaky(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    slope = node.constant(1) if node.op == "PRelu" else node.attribute("alpha", 0.01)
    positive = tape.compared("Greater", node.operand(0), 0.0)
    return [(node.operand(0), tape.where(positive, g, tape.times(g, np.asarray(slope))))]


def _hard_sigmoid(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    y = node.output
    inside = tape.where(tape.compared("Greater", y, 0.0), tape.times(g, node.attribute("alpha", 0.2)))
    return [(node.operand(0), tape.where(tape.compared("Less", y, 1.0), inside))]


def _hard_swish(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    """Slope 0 below -3, 1 above 3, and x/3 + 1/2 between."""
    x = node.operand(0)
    slope = tape.add("Add", [tape.times(x, 1 / 3), tape.constant(0.5)], x)
    inside = tape.where(tape.compared("Greater", x, -3.0), tape.add("Mul", [g, slope], x))
    return [(x, tape.where(tape.compared("Less", x, 3.0), inside, g))]


def _sigmoid(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    y = node.output
    slope = tape.add("Sub", [y, tape.add("Mul", [y, y], y)], y)
    return [(node.operand(0), tape.add("Mul", [g, slope], y))]


def _tanh(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    y = node.output
    slope = tape.add("Sub", [tape.constant(1.0), tape.add("Mul", [y, y], y)], y)
    return [(node.operand(0), tape.add("Mul", [g, slope], y))]


def _by_difference(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    """The slope of any function of one value, by a central difference: good to about 4 digits in float32."""
    x = node.operand(0)
    above, below = (
        tape.add(node.op, [tape.add("Add", [x, tape.constant(step)], x)], x, **node.attributes)
        for step in (STEP, -STEP)
    )
    slope = tape.times(tape.add("Sub", [above, below], x), 0.5 / STEP)
    return [(x, tape.add("Mul", [g, slope], x))]


def _sum(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    first, second = node.operand(0), node.operand(1)
    parts = [] if first.constant is not None else [(first, tape.summed_to(g, first))]
    if second.constant is None:
        signed = g if node.op == "Add" else tape.times(g, -1.0)
        parts.append((second, tape.summed_to(signed, second)))
    return parts


def _product(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    first, second = node.operand(0), node.operand(1)
    pairs = ((first, second), (second, first))
    return [(one, tape.summed_to(tape.add("Mul", [g, other], g), one)) for one, other in pairs if one.constant is None]


def _concat(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    axis = int(node.attribute("axis")) % g.rank
    parts, start = [], 0
    for operand in (one for one in node.inputs if one is not None):
        size = operand.shape[axis] or 1
        places = [tape.constant([number], np.int64) for number in (start, start + size, axis)]
        if operand.constant is None:
            parts.append((operand, tape.add("Slice", [g, *places], operand)))
        start += size
    return parts


def _average(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    """An average is a depthwise convolution by ones, over the number of elements that each window counts."""
    x = node.operand(0)
    kernel = [int(size) for size in node.attribute("kernel_shape")]
    rank = len(kernel)
    strides, pads = ([int(size) for size in node.attribute(name)] for name in ("strides", "pads"))
    dilations = [int(size) for size in node.attribute("dilations") or [1] * rank]
    counts = np.array(1.0)
    for axis in range(rank):
        size, windows = x.shape[2 + axis] or 1, g.shape[2 + axis] or 1
        starts = np.arange(windows)[:, None] * strides[axis] - pads[axis]
        at = starts + np.arange(kernel[axis]) * dilations[axis]
        inside = (
            np.full(windows, kernel[axis])
            if node.attribute("count_include_pad", 0)
            else ((at >= 0) & (at < size)).sum(axis=1)
        )
        counts = np.multiply.outer(counts, inside)
    ones = np.ones((x.shape[1] or 1, 1, *kernel))
    window = {"kernel_shape": kernel, "strides": strides, "pads": pads, "dilations": dilations}
    return [(x, _transposed(tape, tape.times(g, 1 / counts), x, ones, group=len(ones), **window))]


def _global_average(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    x = node.operand(0)
    space = [size or 1 for size in x.shape[2:]]
    share = tape.constant(np.full(space, 1 / np.prod(space)))
    return [(x, tape.add("Mul", [g, share], x))]


def _max_pool(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    """Each gradient goes to the element that was the largest: MaxPool's second output counts in the whole tensor."""
    x = node.operand(0)
    places = tape.graph.add_output(node, "places", np.int64)
    flat = tape.constant([-1], np.int64)
    rows = [
        tape.graph.add_node("Reshape", [value, flat], "gradient.flat", [None], value.dtype).output
        for value in (g, places)
    ]
    shape = tape.graph.add_node("Shape", [x], "gradient.Shape", [x.rank], np.int64).output
    zeros = tape.add("Mul", [x, tape.constant(0.0)], x)
    empty = tape.add("Reshape", [zeros, flat], [None])
    scattered = tape.add("ScatterElements", [empty, rows[1], rows[0]], [None], axis=0, reduction="add")
    return [(x, tape.add("Reshape", [scattered, shape], x))]


def _reshape(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    x = node.operand(0)
    return [(x, tape.add("Reshape", [g, tape.constant([0, *x.sample_shape], np.int64)], x))]


def _transpose(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    back = np.argsort(node.attribute("perm")).tolist()
    return [(node.operand(0), tape.add("Transpose", [g], node.operand(0), perm=back))]


def _pad(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    pads = node.array(1)
    return [(node.operand(0), _padded(tape, g, node.operand(0), (-pads).tolist()))]


def _slice(tape: Tape, node: Node, g: Value) -> list[tuple[Value, Value]]:
    """Along each axis, an element that was taken gets its gradient, any other that of a zero put behind them."""
    x = node.operand(0)
    starts, ends, axes, steps = (np.asarray(node.constant(index)).tolist() for index in (1, 2, 3, 4))
    part, shape = g, list(g.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x.shape[axis] or 1
        taken = np.arange(size)[start : None if step < 0 and end < -size else end : step]
        source = np.full(size, len(taken))
        source[taken] = np.arange(len(taken))
        pads = np.zeros(2 * x.rank, np.int64)
        pads[x.rank + axis] = 1
        shape[axis] = len(taken) + 1
        longer = tape.add("Pad", [part, tape.constant(pads, np.int64), tape.constant(0.0)], shape, mode="constant")
        shape[axis] = size
        part = tape.add("Gather", [longer, tape.constant(source, np.int64)], shape, axis=axis)
    return [(x, part)]


RULES: dict[str, Rule] = {
    **dict.fromkeys(FUNCTIONS, _by_difference),
    "Add": _sum,
    "AveragePool": _average,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "LeakyRelu": _leaky,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Min": _min,
    "Mul": _product,
    "PRelu": _leaky,
    "Pad": _pad,
    "Relu": _relu,
    "Reshape": _reshape,
    "Sigmoid": _sigmoid,
    "Slice": _slice,
    "Sub": _sum,
    "Tanh": _tanh,
    "Transpose": _transpose,
}
"""A rule for each op of ir/legal.py but Resize, Softmax, LayerNormalization and MatMul of two values."""
