"""Functions of one value, tabulated: every input integer has its output integer written down."""

from __future__ import annotations

import numpy as np

from bitsmith.errors import InternalError, UnsupportedError
from bitsmith.ir.elementwise import Reals, apply
from bitsmith.ir.fusion import channel_caps
from bitsmith.ir.graph import Node
from bitsmith.ir.integer import Function, InterpolatedTable, Table
from bitsmith.ir.interpolation import ALL_ENTRIES_BITS, fitted
from bitsmith.passes.integerize.build import Build


def lower_table(build: Build, node: Node) -> None:
    """Every result of an input of 8 bits; of a wider one, knots and lines between them where these are fewer bytes.

    entries[q] = round half up of f(scale * (q - zero_point)) on the output's grid, f in float64.

    Where f is infinite the entry is an end of the grid. A grid may reach past the domain of f by what
    rounding its range took: there the entry is that of the nearest q inside.
    """
    source = build.format(node.operand(0))
    target = build.format(node.output)
    integers = np.arange(source.type.lowest, source.type.highest + 1, dtype=np.float64)
    real = (integers - source.zero_point) * source.scale[0]
    results = tabulated(node, real)
    rows = np.stack([target.quantize(one) for one in results])
    operand, made, function = build.operand(node.operand(0)), build.result(node.output), _function(node)
    steps = np.stack(results) / target.scale[0] + target.zero_point
    kept = fitted(steps, rows) if source.type.bits > ALL_ENTRIES_BITS else None
    if kept is None:
        build.add(Table(node.name, (operand,), made, entries=rows, function=function))
        return
    rule = kept.knots, kept.starts, kept.places, kept.segment_places, kept.lowest, kept.highest
    build.add(InterpolatedTable(node.name, (operand,), made, *rule, function))


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
    places = np.arange(len(x))
    after = np.searchsorted(inside, places)
    left, right = inside[np.maximum(after - 1, 0)], inside[np.minimum(after, len(inside) - 1)]
    extended: Reals = results[np.where(np.abs(places - left) <= np.abs(places - right), left, right)]
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
