"""Operations that only move elements, as maps from where an element goes to where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.layout import Tensor
from bitsmith.execution.moves import move
from bitsmith.ir.integer import IntegerGraph, Operation, Pad, Reshape, Resize, Slice, Transpose

Map = npt.NDArray[np.int64]

MOVES = (Reshape, Transpose, Slice, Resize, Pad)
FILLED = -1


def source_map(operation: Operation, graph: IntegerGraph, tensors: Mapping[str, Tensor]) -> Map:
    """For each element of the result, in the order of memory, which element of the operand it is; `FILLED` for padding.

    The interpreter moves the elements' own positions.
    """
    x, y = tensors[operation.inputs[0]], tensors[operation.output]
    return moved(operation, x, y, graph)


def moved(operation: Operation, x: Tensor, y: Tensor, graph: IntegerGraph | None) -> Map:
    """See `source_map`."""
    positions = np.empty(x.elements, np.int64)
    positions[x.order] = np.arange(x.elements)
    if isinstance(operation, Pad):
        operation = replace(operation, value=FILLED)
    if isinstance(operation, Reshape):
        return positions[y.order]
    result = move(operation, [positions.reshape(1, *x.logical)], graph)  # type: ignore[arg-type]
    return result.ravel()[y.order].astype(np.int64)


def is_identity(operation: Operation, graph: IntegerGraph, tensors: Mapping[str, Tensor]) -> bool:
    """Whether an operation leaves every element where it lies."""
    x, y = tensors[operation.inputs[0]], tensors[operation.output]
    if not isinstance(operation, MOVES) or x.elements != y.elements:
        return False
    return bool((source_map(operation, graph, tensors) == np.arange(x.elements)).all())


@dataclass(frozen=True)
class Loop:
    """`extent` rounds, each of which moves `stride` elements on."""

    extent: int
    stride: int


def loops(places: Map) -> tuple[int, tuple[Loop, ...]] | None:
    """A nest of loops, outermost first, that visits these places in this order from a first one; None if there is none.

    Repeatedly the longest arithmetic progression that all of the rest is made of is taken for the innermost loop.
    """
    first, found = int(places[0]), []
    while len(places) > 1:
        stride = int(places[1] - places[0])
        breaks = np.flatnonzero(np.diff(places) != stride)
        longest = int(breaks[0]) + 1 if len(breaks) else len(places)
        for extent in (n for n in range(longest, 1, -1) if len(places) % n == 0):
            blocks = places.reshape(-1, extent)
            if (blocks - blocks[:, :1] == np.arange(extent) * stride).all():
                break
        else:
            return None
        found.append(Loop(extent, stride))
        places = blocks[:, 0]
    return first, tuple(reversed(found))
