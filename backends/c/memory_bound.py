"""How few bytes a plan can do with at least: by what is in use at once, and by what overlaps must lead to.

A value that is written while another is read for the last time either lies apart from it, which takes the bytes of
both, or over it, and then a gap before it. Along a chain of values each of which is too large to lie apart from the
next, the gaps add up: what is read first lies all of them further on than what is written last. An arena of T bytes
therefore forces the overlaps of all pairs whose bytes together exceed T; if the chains of these reach beyond T, it is
too small, and the next size to look at is the end of the longest, or that at which another pair may lie apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bitsmith.backends.c.buffer import Buffer, Gaps


def chained(buffers: Sequence[Buffer], gaps: Gaps, least: int) -> int:
    """The smallest size from `least` on that the chains of overlaps which it forces do not exceed.

    gaps: by written and read buffer; None where both must begin at the same byte.
    """
    sizes = {buffer.name: buffer.size for buffer in buffers}
    size = least
    while True:
        forced = {pair: gap for pair, gap in gaps.items() if sizes[pair[0]] + sizes[pair[1]] > size}
        starts = _earliest(buffers, forced)
        reach = max((starts[buffer.name] + buffer.size for buffer in buffers), default=0)
        if reach <= size:
            return size
        apart = min(sizes[written] + sizes[read] for written, read in forced)
        size = min(reach, apart)


def _earliest(buffers: Sequence[Buffer], forced: Gaps) -> Mapping[str, int]:
    """The first byte at which each buffer can begin, if every overlap is as its gap says.

    What is written begins to be in use after what it is written over, so that going back in time settles each in turn.
    """
    starts = {buffer.name: 0 for buffer in buffers}
    order = {buffer.name: buffer.first for buffer in buffers}
    for written, read in sorted(forced, key=lambda pair: -order[pair[0]]):
        gap = forced[written, read]
        starts[read] = max(starts[read], starts[written] + (0 if gap is None else gap))
    return starts
