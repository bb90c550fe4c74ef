"""Where buffers lie in the arena: offsets such that what lives at the same time does not overlap, in few bytes.

Finding the least is NP-hard (dynamic storage allocation), yet networks are small: a few orders of first-fit placement
mostly reach the lower bound (memory_bound.py), which proves that no plan is smaller; where they do not, orders are
changed at random for a while. The plan says its bound, so that its reader sees what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from bitsmith.backends.c.buffer import Buffer, Gaps, Overlap, whole_words
from bitsmith.backends.c.memory_bound import chained

TRIES, PLACED = 200, 50_000
"""Orders that are tried: so many at least, and more of few buffers, as long as those that they place are no more."""


@dataclass(frozen=True)
class MemoryPlan:
    """offsets: of every buffer, in bytes. total: of the arena. bound: no plan is smaller. alignment: of the arena.

    needed: by step at which a buffer begins, the bytes that any plan has in use there.
    """

    offsets: Mapping[str, int]
    total: int
    bound: int
    needed: Mapping[int, int]
    alignment: int

    @property
    def is_least(self) -> bool:
        """Whether it is proved that no plan is smaller."""
        return self.total == self.bound


def plan(buffers: Sequence[Buffer], overlaps: Iterable[Overlap]) -> MemoryPlan:
    """Place all buffers. The same buffers get the same plan."""
    return _planned(tuple(buffers), tuple(overlaps))


# What is written of an artifact, and what is told of it in several places, is each built anew: most of that is this.
@lru_cache(maxsize=64)
def _planned(buffers: tuple[Buffer, ...], overlaps: tuple[Overlap, ...]) -> MemoryPlan:
    gaps = {(one.written, one.read): whole_words(one.gap) for one in overlaps}
    needed = needs(buffers, gaps)
    bound = chained(buffers, gaps, max(needed.values(), default=0))
    alignment = max((buffer.alignment for buffer in buffers), default=4)
    orders = [
        sorted(buffers, key=lambda b: (-b.size, b.first)),
        sorted(buffers, key=lambda b: (-b.size * (b.last - b.first + 1), b.first)),
        sorted(buffers, key=lambda b: (b.first, -b.size)),
        sorted(buffers, key=lambda b: (-b.last, -b.size)),
    ]
    plans = [place(order, gaps) for order in orders]
    best = min(range(len(plans)), key=lambda i: extent(buffers, plans[i]))
    order, offsets = orders[best], plans[best]
    random = np.random.default_rng(0)
    for _ in range(max(TRIES, PLACED // max(len(buffers), 1))):
        total = extent(buffers, offsets)
        if total <= bound or len(order) < 2:
            break
        tried = list(order)
        moved = tried.pop(int(random.integers(len(tried))))
        tried.insert(int(random.integers(len(tried) + 1)), moved)
        found = place(tried, gaps)
        if extent(buffers, found) <= total:
            order, offsets = tried, found
    return MemoryPlan(MappingProxyType(offsets), extent(buffers, offsets), bound, MappingProxyType(needed), alignment)


def extent(buffers: Iterable[Buffer], offsets: Mapping[str, int]) -> int:
    """Bytes from 0 to the end of the last buffer."""
    return max((offsets[buffer.name] + buffer.size for buffer in buffers), default=0)


def place(order: Sequence[Buffer], gaps: Gaps) -> dict[str, int]:
    """First fit: each buffer in turn at the lowest offset that all placed before allow."""
    offsets: dict[str, int] = {}
    placed: list[Buffer] = []
    for buffer in order:
        neighbours = [other for other in placed if buffer.lives_with(other)]
        offsets[buffer.name] = _lowest(buffer, neighbours, offsets, gaps)
        placed.append(buffer)
    return offsets


def _lowest(buffer: Buffer, neighbours: Sequence[Buffer], offsets: Mapping[str, int], gaps: Gaps) -> int:
    """The lowest offset at which a buffer is clear of its neighbours, or overlaps them as is allowed."""
    forbidden: list[tuple[int, int]] = []
    for other in neighbours:
        # Offsets strictly between these two make them collide.
        low, high = offsets[other.name] - buffer.size, offsets[other.name] + other.size
        pairs = ((buffer.name, other.name), (other.name, buffer.name))
        if any(pair in gaps and gaps[pair] is None for pair in pairs):
            at = offsets[other.name]
            forbidden += [(low, at), (at, high)]
            continue
        written, read = (gaps.get(pair) for pair in pairs)
        if written is not None:
            low = max(low, offsets[other.name] - written)
        if read is not None:
            high = min(high, offsets[other.name] + read)
        if low < high:
            forbidden.append((low, high))
    offset = 0
    for low, high in sorted(forbidden):
        if low < offset < high:
            offset = -(-high // buffer.alignment) * buffer.alignment
    return offset


def needs(buffers: Sequence[Buffer], gaps: Gaps) -> dict[int, int]:
    """The sum of what lives at each step, where what may overlap counts by the least span of both."""
    by_name = {buffer.name: buffer for buffer in buffers}
    written_over: dict[str, list[str]] = {}
    for written, read in gaps:
        written_over.setdefault(written, []).append(read)
    found = {}
    for step in sorted({buffer.first for buffer in buffers}):
        alive = [buffer for buffer in buffers if buffer.first <= step <= buffer.last]
        found[step] = sum(buffer.size for buffer in alive)
        for buffer in alive:
            under = [by_name[name] for name in written_over.get(buffer.name, ()) if by_name[name] in alive]
            if buffer.first == step:
                found[step] -= shared(buffer.size, [(one.size, gaps[buffer.name, one.name]) for one in under])
    return found


def shared(written: int, read: Sequence[tuple[int, int | None]]) -> int:
    """The most bytes that a buffer of `written` bytes can share with those that it may overlap, each (bytes, gap)."""
    if len(read) == 1:
        ((size, gap),) = read
        return written + size - _span(written, size, gap)
    # Over two operands at once the written one can at best vanish within them.
    return min(written, sum(size for size, _ in read))


def _span(written: int, read: int, gap: int | None) -> int:
    """The least bytes that two buffers take which may overlap."""
    if gap is None or gap <= max(0, written - read):
        return max(written, read)
    return min(written + read, gap + read)
