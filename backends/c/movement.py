"""Operations that only move elements, as maps from where an element goes to where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.layout import Tensor
from bitsmith.errors import InternalError
from bitsmith.ir.integer import Operation, Pad, Reshape, Resize, Slice, Transpose

Map = npt.NDArray[np.int64]

MOVES = (Reshape, Transpose, Slice, Resize, Pad)
FILLED = -1


def source_map(operation: Operation, x: Tensor, y: Tensor) -> Map:
    """For each element of `y`, in the order of memory, which element of `x` it is; `FILLED` for padding."""
    positions = np.empty(x.elements, np.int64)
    positions[x.order] = np.arange(x.elements)
    return _moved(operation, positions.reshape(x.logical), y).ravel()[y.order]


def _moved(operation: Operation, positions: Map, y: Tensor) -> Map:
    """What an operation makes of the positions of the elements themselves."""
    match operation:
        case Reshape():
            return positions
        case Transpose():
            return positions.transpose(operation.permutation)
        case Slice():
            kept = zip(operation.starts, operation.steps, y.logical, strict=True)
            return _taken(positions, [start + step * np.arange(size) for start, step, size in kept])
        case Resize():
            return _taken(positions, list(map(np.array, operation.indices)))
        case Pad():
            rank = positions.ndim
            widths = [*zip(operation.pads[:rank], operation.pads[rank:], strict=True)]
            return np.pad(positions, widths, constant_values=FILLED)
        case _:
            raise InternalError(f"a {operation.kind} does not only move elements", where=operation.name)


def _taken(positions: Map, indices: list[Map]) -> Map:
    taken: Map = positions[np.ix_(*indices)]
    return taken


def is_identity(operation: Operation, x: Tensor, y: Tensor) -> bool:
    """Whether an operation leaves every element where it lies."""
    if not isinstance(operation, MOVES) or x.elements != y.elements:
        return False
    return bool((source_map(operation, x, y) == np.arange(x.elements)).all())


@dataclass(frozen=True)
class Loop:
    """`extent` rounds, each of which goes `source` elements on where it reads and `target` where it writes."""

    extent: int
    source: int
    target: int


def loops(pairs: Map) -> tuple[tuple[int, int], tuple[Loop, ...]] | None:
    """A nest of loops, outermost first, that visits these (source, target) pairs, (n, 2), in order; None if none does.

    Repeatedly the longest arithmetic progression that all of the rest is made of is taken for the innermost loop.
    """
    first, found = (int(pairs[0, 0]), int(pairs[0, 1])), []
    while len(pairs) > 1:
        stride = pairs[1] - pairs[0]
        breaks = np.flatnonzero((np.diff(pairs, axis=0) != stride).any(axis=1))
        longest = int(breaks[0]) + 1 if len(breaks) else len(pairs)
        for extent in (n for n in range(longest, 1, -1) if len(pairs) % n == 0):
            blocks = pairs.reshape(-1, extent, 2)
            if (blocks - blocks[:, :1] == np.arange(extent)[:, None] * stride).all():
                break
        else:
            return None
        found.append(Loop(extent, int(stride[0]), int(stride[1])))
        pairs = blocks[:, 0]
    return first, tuple(reversed(found))
