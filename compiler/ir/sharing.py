"""Which values must share one format: those between which elements only move."""

from __future__ import annotations

import networkx as nx

from bitsmith.ir.graph import Graph, Value

MOVES = frozenset({"Concat", "MaxPool", "Pad", "Reshape", "Resize", "Slice", "Transpose"})
"""Ops that move or select elements and compute nothing, so that a step of scale inside them is never needed."""


def format_groups(graph: Graph, values: list[Value]) -> list[list[Value]]:
    """Partition `values` into groups of one format each, in the order in which the groups first appear."""
    order = {value: index for index, value in enumerate(values)}
    sharing: nx.Graph[Value] = nx.Graph()
    sharing.add_nodes_from(values)
    for node in graph.nodes(*MOVES):
        operands = node.inputs if node.op == "Concat" else node.inputs[:1]
        sharing.add_edges_from((operand, node.output) for operand in operands if operand in order)
    groups = [sorted(group, key=order.__getitem__) for group in nx.connected_components(sharing)]
    return sorted(groups, key=lambda group: order[group[0]])
