"""Functions of one value, tabulated: every input integer has its output integer written down."""

from __future__ import annotations

import numpy as np

from bitsmith.errors import InternalError, UnsupportedError
from bitsmith.ir.elementwise import Reals, apply
from bitsmith.ir.fusion import channel_caps
from bitsmith.ir.graph import Node
from bitsmith.ir.integer import Function, Table
from bitsmith.passes.integerize.build import Build


def lower_table(build: Build, node: Node) -> None:
    """entries[q] = round half up of f(scale * (q - zero_point)) on the output's grid, f in float64.

    Where f is infinite the entry is an end of the grid. A grid may reach past the domain of f by what
    rounding its range took: there the entry is that of the nearest q inside.
    """
    source = build.format(node.operand(0))
    target = build.format(node.output)
    integers = np.arange(source.type.lowest, source.type.highest + 1, dtype=np.float64)
    real = (integers - source.zero_point) * source.scale[0]
    rows = np.stack([target.quantize(one) for one in tabulated(node, real)])
    operand = build.operand(node.operand(0))
    build.add(Table(node.name, (operand,), build.result(node.output), entries=rows, function=_function(node)))


def tabulated(node: Node, x: Reals) -> list[Reals]:
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
    if node.op == "Clip":
        return [_clip(node, x)]
    return [_extended(node, x, apply(node, x))]


def _extended(node: Node, x: Reals, results: Reals) -> Reals:
    """The results, and outside of the function's domain that of the nearest x inside."""
    inside = np.flatnonzero(~np.isnan(results))
    if not inside.size:
        raise UnsupportedError(
            f"{node.op} is not a number for anything that {node.operand(0).name} may be",
            where=node.where,
            fix="Look at what the model computes there.",
        )
    nearest = inside[np.abs(np.arange(len(x))[:, None] - inside).argmin(axis=1)]
    extended: Reals = results[nearest]
    return extended


def _clip(node: Node, x: Reals) -> Reals:
    lowest, highest = node.constant(1), node.constant(2)
    low = -np.inf if lowest is None else float(lowest.item())
    high = np.inf if highest is None else float(highest.item())
    return np.minimum(np.maximum(x, low), high)


def _function(node: Node) -> Function:
    """The op itself, for backends that have it: its attributes and its constant operands."""
    constants = []
    for operand in node.inputs[1:]:
        if operand is None or operand.constant is None:
            raise InternalError("an operand that is left out or not constant", where=node.where)
        constants.append((operand.constant.shape, tuple(float(element) for element in operand.constant.ravel())))
    attributes = tuple(
        (name, held if isinstance(held, str) else float(held)) for name, held in sorted(node.attributes.items())
    )
    return Function(node.op, attributes, tuple(constants))
