"""Where the boxes of a directed acyclic graph stand, and the lines between them, from top to bottom.

The layered drawing of Sugiyama, Tagawa and Toda 1981 (doi:10.1109/TSMC.1981.4308636): ranks by the longest path, a
place of its own in every rank for a line that passes it, orders within ranks by the barycenters of neighbours, and then
places as near to these as the order allows, which is isotonic regression once the distances are taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Edge = tuple[int, int]
Point = tuple[float, float]

SWEEPS = 8
LANE = 18
"""Width of a line that passes a rank, with the distance to its neighbours."""

FIRM, LOOSE = 8.0, 1.0
"""How much boxes, and lines that pass, insist on standing straight below what is above them."""


@dataclass(frozen=True)
class Size:
    """width, height: of a box. across, down: what is left between two in a rank, and between ranks."""

    width: float
    height: float
    across: float
    down: float


@dataclass(frozen=True)
class Layout:
    """boxes: the middle of each node's box. routes: of each edge, from the bottom of a box to the top of another."""

    boxes: tuple[Point, ...]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def lay_out(count: int, edges: Sequence[Edge], size: Size) -> Layout:
    """Place nodes 0 to count - 1, which are in an order that may be executed: an edge leads to a larger one."""
    ranks = _ranks(count, edges)
    chains, links, ranks = _with_lanes(count, edges, ranks)
    widths = [size.width if node < count else LANE for node in range(len(ranks))]
    rows = _ordered(ranks, links)
    across = _places(rows, links, widths, size.across, count)
    left = min((x - widths[node] / 2 for node, x in enumerate(across)), default=0.0)
    right = max((x + widths[node] / 2 for node, x in enumerate(across)), default=0.0)
    tops = [rank * (size.height + size.down) for rank in ranks]
    middles = [(x - left, top + size.height / 2) for x, top in zip(across, tops, strict=True)]
    routes = []
    for chain in chains:
        (x0, y0), (x1, y1) = middles[chain[0]], middles[chain[-1]]
        between = [
            point
            for node in chain[1:-1]
            for point in ((middles[node][0], tops[node]), (middles[node][0], tops[node] + size.height))
        ]
        routes.append(((x0, y0 + size.height / 2), *between, (x1, y1 - size.height / 2)))
    height = max(ranks, default=-1) + 1
    return Layout(
        tuple(middles[:count]),
        tuple(routes),
        right - left,
        max(height * (size.height + size.down) - size.down, 0.0),
    )


def _ranks(count: int, edges: Sequence[Edge]) -> list[int]:
    """The longest path to each node; sources stand right above the first that reads them."""
    ranks, above = [0] * count, _neighbours(count, edges)[0]
    for start, end in sorted(edges):
        ranks[end] = max(ranks[end], ranks[start] + 1)
    nearest: dict[int, int] = {}
    for start, end in edges:
        nearest[start] = min(ranks[end], nearest.get(start, ranks[end]))
    for node, rank in nearest.items():
        if not above[node]:
            ranks[node] = rank - 1
    return ranks


def _with_lanes(
    count: int, edges: Sequence[Edge], ranks: Sequence[int]
) -> tuple[list[list[int]], list[Edge], list[int]]:
    """Each edge as the nodes it goes through, those of ranks that it passes being new; and links from rank to rank."""
    every, chains = list(ranks), []
    for start, end in edges:
        passed = range(ranks[start] + 1, ranks[end])
        lane = list(range(len(every), len(every) + len(passed)))
        every.extend(passed)
        chains.append([start, *lane, end])
    links = [link for chain in chains for link in pairwise(chain)]
    return chains, links, every


def _neighbours(nodes: int, links: Sequence[Edge]) -> tuple[list[list[int]], list[list[int]]]:
    """Above and below each node."""
    above: list[list[int]] = [[] for _ in range(nodes)]
    below: list[list[int]] = [[] for _ in range(nodes)]
    for start, end in links:
        above[end].append(start)
        below[start].append(end)
    return above, below


def _ordered(ranks: Sequence[int], links: Sequence[Edge]) -> list[list[int]]:
    """The nodes of each rank from left to right."""
    rows: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    for node, rank in enumerate(ranks):
        rows[rank].append(node)
    above, below = _neighbours(len(ranks), links)
    for sweep in range(SWEEPS):
        places = [0.0] * len(ranks)
        for row in rows:
            for place, node in enumerate(row):
                places[node] = place - (len(row) - 1) / 2
        beside = above if sweep % 2 == 0 else below
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wish = {n: sum(places[m] for m in beside[n]) / len(beside[n]) if beside[n] else places[n] for n in row}
            row.sort(key=wish.__getitem__)
            for place, node in enumerate(row):
                places[node] = place - (len(row) - 1) / 2
    return rows


def _places(
    rows: Sequence[Sequence[int]], links: Sequence[Edge], widths: Sequence[float], gap: float, boxes: int
) -> list[float]:
    """Where the middle of each node is, from left to right."""
    above, below = _neighbours(len(widths), links)
    weights = [FIRM if node < boxes else LOOSE for node in range(len(widths))]
    across = [0.0] * len(widths)
    for row in rows:
        offsets = _offsets(row, widths, gap)
        for node, offset in zip(row, offsets, strict=True):
            across[node] = offset - offsets[-1] / 2
    for sweep in range(2 * SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            wishes = [_wish(node, above if down else below, across, weights) for node in row]
            offsets = _offsets(row, widths, gap)
            free = [wish - offset for wish, offset in zip(wishes, offsets, strict=True)]
            kept = isotonic(free, [weights[node] for node in row])
            for node, place, offset in zip(row, kept, offsets, strict=True):
                across[node] = place + offset
    return across


def _wish(node: int, beside: Sequence[Sequence[int]], across: Sequence[float], weights: Sequence[float]) -> float:
    """Where a node would stand if it were alone in its rank: in the middle of its neighbours."""
    near = beside[node]
    if not near:
        return across[node]
    return sum(across[one] * weights[one] for one in near) / sum(weights[one] for one in near)


def _offsets(row: Sequence[int], widths: Sequence[float], gap: float) -> list[float]:
    """How far from the first each node of a rank is at least."""
    found = [0.0] * len(row)
    for place in range(1, len(row)):
        found[place] = found[place - 1] + (widths[row[place - 1]] + widths[row[place]]) / 2 + gap
    return found


def isotonic(wishes: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The non-decreasing numbers nearest to these by weighted squares: pool adjacent violators (Ayer et al. 1955)."""
    pools: list[tuple[float, float, int]] = []
    for wish, weight in zip(wishes, weights, strict=True):
        pools.append((wish, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, heavy, many = pools.pop()
            other, light, few = pools.pop()
            pools.append(((mean * heavy + other * light) / (heavy + light), heavy + light, many + few))
    return [mean for mean, _, many in pools for _ in range(many)]
