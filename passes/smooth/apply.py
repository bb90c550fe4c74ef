"""Write a scale per channel into a graph: divided out of what makes an activation, multiplied into what reads it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError
from bitsmith.execution.patches import patch_shape
from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.ir.linear import LINEAR
from bitsmith.passes.equalize.apply import set_upper_bounds, upper_bounds
from bitsmith.passes.rounding.layer import put_rows, rows_of
from bitsmith.passes.smooth.sites import NORMS, PRODUCTS, SUMS, Site

Array = npt.NDArray[np.float64]

LARGEST = float(np.finfo(np.float32).max)


def divide(graph: Graph, site: Site, scale: Array) -> str | None:
    """Divide the channels of a site by `scale`, (channels,), and let its readers multiply by it.

    Returns the reason if float32 could not hold the result, and then nothing is changed.
    """
    rows = {node: rows_of(node) * spread(node, scale) for node in site.readers}
    source = site.makers[-1]
    if source.op in LINEAR:
        made = rows_of(source)
        rows[source] = made / scale.reshape(len(made), -1, 1)
    vectors = list(_vectors(site, scale))
    for array in [*rows.values(), *(vector for _, vector in vectors)]:
        if not np.abs(array).max(initial=0.0) <= LARGEST:
            return "its scaled weights would not be finite in float32"
    for node, array in rows.items():
        put_rows(node, array)
    for value, vector in vectors:
        value.constant = vector.astype(np.float32)
    for node in site.makers:
        if node.op in ("Clip", "Min"):
            set_upper_bounds(graph, node, upper_bounds(node) / scale)
    return None


def spread(node: Node, scale: Array) -> Array:
    """One number per channel that a linear op reads as one per input of an output element: (groups, 1, k)."""
    groups, inputs = patch_shape(node)
    by_group = scale.reshape(groups, 1, -1)
    return np.repeat(by_group, inputs // by_group.shape[2], axis=2)


def _vectors(site: Site, scale: Array) -> Iterator[tuple[Value, Array]]:
    """The biases, gains and constants on the way to an activation, each with what it becomes."""
    aligned = scale.reshape(-1, *[1] * (site.value.rank - 1 - site.axis))
    for node in site.makers:
        if node.op in LINEAR and node.constant(2) is not None:
            yield node.operand(2), _constant(node, 2) / scale
        elif node.op in NORMS:
            for index in (1, 2):
                if node.input(index) is not None:
                    yield node.operand(index), _constant(node, index) / scale
        elif node.op in (*PRODUCTS, *SUMS):
            index = 0 if node.constant(0) is not None else 1
            held = _constant(node, index)
            factor = aligned if node.op == "Div" else 1 / aligned
            yield node.operand(index), held * factor


def _constant(node: Node, index: int) -> Array:
    held = node.constant(index)
    if held is None:
        raise InternalError(f"operand {index} is not constant", where=node.where)
    return held.astype(np.float64)
