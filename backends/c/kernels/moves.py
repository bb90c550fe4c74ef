"""What only moves elements: copies in loops, and a table of places where no loops visit them in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitsmith.backends.c.kernels.kernel import Constant, Kernel, KernelFamily, Site
from bitsmith.backends.c.movement import FILLED, MOVES, Loop, loops, source_map
from bitsmith.ir.integer import Concat, Pad


@dataclass(frozen=True)
class Copy:
    """Elements of one operand, in a nest of loops from a first place each."""

    parameter: str
    source: int
    target: int
    loops: tuple[Loop, ...]


class PortableMove(KernelFamily):
    """Reshape, Transpose, Slice, Resize, Pad and Concat in plain C, where they are not free."""

    name: ClassVar[str] = "move"

    def refusal(self, site: Site) -> str | None:
        return None if isinstance(site.operation, (*MOVES, Concat)) else "it does not only move elements"

    def kernel(self, site: Site) -> Kernel:
        operation = site.operation
        if isinstance(operation, Concat):
            copies = _side_by_side(site, operation.axis)
        else:
            sources = source_map(operation, site.x, site.output)
            kept = np.flatnonzero(sources != FILLED)
            nest = loops(np.stack([sources[kept], kept], axis=1)) if len(kept) else None
            if nest is None and len(kept):
                return _by_table(site, sources)
            copies = [] if nest is None else [Copy("x", nest[0][0], nest[0][1], nest[1])]
        return Kernel(
            self.name,
            "move.c.j2",
            context={"copies": copies, "fill": operation.value if isinstance(operation, Pad) else None},
        )


def _side_by_side(site: Site, axis: int) -> list[Copy]:
    y = site.output
    positions = np.empty(y.elements, np.int64)
    positions[y.order] = np.arange(y.elements)
    places = positions.reshape(y.logical)
    copies, start = [], 0
    for parameter, x in zip(site.parameters.values(), site.inputs, strict=True):
        part = np.take(places, range(start, start + x.logical[axis]), axis=axis).ravel()[x.order]
        nest = loops(np.stack([np.arange(x.elements), part], axis=1))
        assert nest is not None, "a block of an array is a nest of loops"
        copies.append(Copy(parameter, nest[0][0], nest[0][1], nest[1]))
        start += x.logical[axis]
    return copies


def _by_table(site: Site, sources: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Kernel:
    ctype = "uint16_t" if site.x.elements <= 1 << 16 else "uint32_t"
    places = Constant("places", ctype, sources, "where each element of the result comes from")
    return Kernel("move by table", "gather.c.j2", constants=(places,))
