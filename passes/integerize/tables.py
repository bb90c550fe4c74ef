"""Functions of one value, tabulated: every input integer has its output integer written down."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError
from bitsmith.ir.fusion import channel_caps
from bitsmith.ir.graph import Node
from bitsmith.ir.integer import Function, Table
from bitsmith.passes.integerize.build import Build

Reals = npt.NDArray[np.float64]


def lower_table(build: Build, node: Node) -> None:
    """entries[q] = round half up of f(scale * (q - zero_point)) on the output's grid, f in float64."""
    source = build.format(node.operand(0))
    target = build.format(node.output)
    integers = np.arange(source.type.lowest, source.type.highest + 1, dtype=np.float64)
    real = (integers - source.zero_point) * source.scale[0]
    rows = np.stack([target.quantize(one) for one in _rows(node, real)])
    operand = build.operand(node.operand(0))
    build.add(Table(node.name, (operand,), build.result(node.output), entries=rows, function=_function(node)))


def _rows(node: Node, x: Reals) -> list[Reals]:
    """The function over x: one row for all channels, or one a channel."""
    if node.op == "PRelu":
        slope = node.constant(1)
        if slope is None:
            raise InternalError("a slope that is not constant", where=node.where)
        return [np.where(x < 0, float(one) * x, x) for one in slope.ravel()]
    if node.op == "Min":
        caps = channel_caps(node)
        if caps is None:
            raise InternalError("bounds that are not one per channel", where=node.where)
        return [np.minimum(x, float(one)) for one in caps]
    return [FUNCTIONS[node.op](node, x)]


def _clip(node: Node, x: Reals) -> Reals:
    lowest, highest = node.constant(1), node.constant(2)
    low = -np.inf if lowest is None else float(lowest.item())
    high = np.inf if highest is None else float(highest.item())
    return np.minimum(np.maximum(x, low), high)


def _hard_sigmoid(node: Node, x: Reals) -> Reals:
    return np.clip(float(node.attribute("alpha", 0.2)) * x + float(node.attribute("beta", 0.5)), 0.0, 1.0)


FUNCTIONS: dict[str, Callable[[Node, Reals], Reals]] = {
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda node, x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "LeakyRelu": lambda node, x: np.where(x < 0, float(node.attribute("alpha", 0.01)) * x, x),
    "Relu": lambda node, x: np.maximum(x, 0.0),
    # 1 / (1 + exp(-x)) without overflow.
    "Sigmoid": lambda node, x: np.exp(-np.logaddexp(0.0, -x)),
    "Tanh": lambda node, x: np.tanh(x),
}


def _function(node: Node) -> Function:
    """The op itself, for backends that have it: its numeric attributes and its constant operands."""
    constants = []
    for operand in node.inputs[1:]:
        if operand is None or operand.constant is None:
            raise InternalError("an operand that is left out or not constant", where=node.where)
        constants.append((operand.constant.shape, tuple(float(element) for element in operand.constant.ravel())))
    attributes = tuple((name, float(number)) for name, number in sorted(node.attributes.items()))
    return Function(node.op, attributes, tuple(constants))
