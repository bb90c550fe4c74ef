"""Which values must share one format: those between which elements only move."""

from __future__ import annotations

import networkx as nx

from bitsmith.ir.fusion import is_left_to_host, materialised, riders
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


def activation_groups(graph: Graph) -> list[list[Value]]:
    """All that needs the format of an activation, in groups of one format each: constant operands come last."""
    return format_groups(graph, [*materialised(graph), *constant_operands(graph)])


def constant_operands(graph: Graph) -> list[Value]:
    """The constants that are read as values like any activation: not weights, biases or parameters."""
    riding = riders(graph)
    readers = [node for node in graph.nodes("Add", "Sub", "Mul", "Concat") if node not in riding]
    operands = [operand for node in readers for operand in node.inputs if operand is not None]
    return [operand for operand in operands if operand.constant is not None]


def is_edge(value: Value) -> bool:
    """Whether a value is an input of the graph or becomes an output, be it by a Softmax that the host does."""
    return value.is_input or value.is_output or any(is_left_to_host(reader) for reader in value.consumers)
