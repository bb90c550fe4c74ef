"""What gets a width of its own in a float graph, and which widths it may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bitsmith.allocation.problem import Group
from bitsmith.errors import PipelineError
from bitsmith.ir.formats import Plan
from bitsmith.ir.graph import Graph
from bitsmith.ir.linear import linear_nodes, weight_value
from bitsmith.ir.sensitivity import Losses, Sensitivity
from bitsmith.ir.sharing import activation_groups, is_edge
from bitsmith.target import Target

EDGE_BITS = 8
"""Of inputs and outputs where nothing else is said: fewer there cost far more than anywhere else, and gain little."""


def groups_of(
    graph: Graph, plan: Plan, target: Target, sensitivity: Sensitivity, edges: int = 0, group_size: int = 0
) -> list[Group]:
    """Weights in execution order, then activations by format group, each with the widths it may have.

    What has a format in `plan` is settled at its bits. Inputs and outputs get `edges` bits, or 8, and constants that
    nothing else shares a format with get as many. The rest may have any width that the target runs and that
    `sensitivity` knows the loss of. Where `group_size` inputs share a multiplier, 0 for none, weights are not ternary.
    """
    found = []
    legal = target.weight_bits if group_size else target.weight_widths
    for node in linear_nodes(graph):
        name = weight_value(node).name
        if name in plan:
            found.append(Group(name, (name,), True, (plan[name].bits,), settled=True))
        else:
            widths = _open(name, legal, sensitivity.weights, "weight")
            found.append(Group(name, (name,), True, widths))
    for group in activation_groups(graph):
        name, members = group[0].name, tuple(value.name for value in group)
        if name in plan:
            found.append(Group(name, members, False, (plan[name].bits,), settled=True))
        elif any(is_edge(value) for value in group) or all(value.constant is not None for value in group):
            found.append(Group(name, members, False, (edges or edge_bits(target.activation_bits),), is_edge=True))
        else:
            widths = _open(name, target.activation_bits, sensitivity.activations, "activation")
            found.append(Group(name, members, False, widths))
    return found


def _open(name: str, legal: Sequence[float], losses: Mapping[str, Losses], what: str) -> tuple[float, ...]:
    """The legal widths whose loss is known."""
    widths = tuple(sorted(set(legal) & set(losses.get(name, {}))))
    if not widths:
        raise PipelineError(
            f"nothing is known of what the bits of {what} {name} cost the outputs",
            fix="Put measure-sensitivity before allocate-bits, or give --sensitivity of this very model.",
        )
    return widths


def edge_bits(legal: Sequence[int]) -> int:
    """8 bits where that is legal, else the width that comes first."""
    return EDGE_BITS if EDGE_BITS in legal else legal[0]
