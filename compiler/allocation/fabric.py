"""Look-up tables as a cost: a backend says what each operation of a circuit takes, and any mixture is the sum.

A layer's adders are as many as its weights ask for, and each is as wide as its input and the sum so far. So what a
layer takes depends on the width of its weights, which is asked for one by one, and grows with every bit of its input by
as much as it has adders: two widths of inputs are asked for, and those between lie on a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bitsmith.allocation.costs import group_by_value
from bitsmith.allocation.problem import Group, Row
from bitsmith.ir.graph import Graph
from bitsmith.ir.linear import linear_nodes, weight_value

Told = Mapping[str, float]
"""Look-up tables by the name of the operation."""


def lut_row(
    graph: Graph, groups: Sequence[Group], widest: Mapping[float, Told], narrowest: Mapping[float, Told]
) -> Row:
    """The look-up tables of a circuit by the widths of its groups.

    widest, narrowest: what a circuit takes whose weights all have so many bits, and whose activations all have as many,
    or as few, as they may.
    """
    of = group_by_value(groups)
    linear = {node.name for node in linear_nodes(graph)}
    reference = max(widest)
    left = dict(widest[reference])
    least = dict(narrowest[reference])
    singles: dict[str, dict[float, float]] = {}
    pairs: dict[tuple[str, str], dict[tuple[float, float], float]] = {}
    for node in graph.nodes():
        first = node.operand(0).name
        if node.name not in left or first not in of:
            continue
        read = of[first]
        if node.name in linear:
            weight = of[weight_value(node).name]
            terms = pairs.setdefault((weight.name, read.name), {})
            for bits in weight.widths:
                most, few = widest[bits][node.name], narrowest[bits][node.name]
                terms |= {(bits, more): _between(read, more, few, most) for more in read.widths}
        else:
            terms_of_one = singles.setdefault(read.name, dict.fromkeys(read.widths, 0.0))
            for more in read.widths:
                terms_of_one[more] += _between(read, more, least[node.name], left[node.name])
        del left[node.name]
    return Row(sum(left.values()), singles, pairs)


def _between(group: Group, bits: float, few: float, most: float) -> float:
    """On the line from what the fewest bits take to what the most do."""
    lowest, highest = group.widths[0], group.widths[-1]
    return most if lowest == highest else few + (most - few) * (bits - lowest) / (highest - lowest)
