"""Names, order and sharing: what graphsurgeon needs to be right, and what a reader of errors needs to be there."""

from __future__ import annotations

import heapq
from collections import Counter

from onnx import NodeProto

from bitsmith.errors import ModelError
from bitsmith.importing.draft import Draft
from bitsmith.importing.screen import node_label

_DROPPABLE = ("BatchNormalization", "Dropout", "MaxPool")
"""Ops whose outputs but the first are extras that inference seldom reads."""


def tidy(draft: Draft) -> None:
    """Order nodes, name them, drop outputs nobody reads, and give every constant one reader.

    Raises ModelError for a cycle, a value that nothing makes, or one that is made twice.
    """
    _order(draft)
    _drop_unread_outputs(draft)
    _name_nodes(draft)
    _unshare_constants(draft)
    _check_outputs(draft)


def _order(draft: Draft) -> None:
    """Put nodes into an order that may be executed, else as they stood (Kahn 1962, with a heap)."""
    nodes = list(draft.graph.node)
    maker: dict[str, int] = {}
    given = set(draft.constants) | {value.name for value in draft.graph.input}
    for index, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in maker or name in given:
                raise ModelError(
                    "is made more than once", where=f"value {name}", fix="Export the model again: names must be unique."
                )
            maker[name] = index
    waiting = [0] * len(nodes)
    readers: dict[int, list[int]] = {}
    for index, node in enumerate(nodes):
        for name in filter(None, node.input):
            if name in maker:
                waiting[index] += 1
                readers.setdefault(maker[name], []).append(index)
            elif name not in given:
                raise ModelError(
                    f"reads {name}, which nothing makes", where=node_label(node), fix="Export the model again."
                )
    ready = [index for index, count in enumerate(waiting) if count == 0]
    heapq.heapify(ready)
    order: list[NodeProto] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(nodes[index])
        for reader in readers.get(index, []):
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) != len(nodes):
        stuck = next(node for node, count in zip(nodes, waiting, strict=True) if count)
        raise ModelError("is part of a cycle", where=node_label(stuck), fix="An ONNX graph has none: export it again.")
    del draft.graph.node[:]
    draft.graph.node.extend(order)


def _drop_unread_outputs(draft: Draft) -> None:
    reads = draft.readers()
    for node in draft.graph.node:
        if node.op_type in _DROPPABLE:
            while len(node.output) > 1 and not reads[node.output[-1]]:
                del node.output[-1]
        while len(node.output) > 1 and not node.output[-1]:
            del node.output[-1]
        while node.input and not node.input[-1]:
            del node.input[-1]


def _name_nodes(draft: Draft) -> None:
    taken = {node.name for node in draft.graph.node}
    seen: set[str] = set()
    for index, node in enumerate(draft.graph.node):
        if not node.name or node.name in seen:
            node.name = fresh_name(node.name or f"{node.op_type.lower()}_{index}", taken)
        seen.add(node.name)


def _unshare_constants(draft: Draft) -> None:
    """Give each reading of a constant a constant of its own, on the same array; drop constants nobody reads."""
    taken = draft.names()
    reads: Counter[str] = Counter()
    for node in draft.graph.node:
        for index, name in enumerate(node.input):
            if name in draft.constants:
                reads[name] += 1
                if reads[name] > 1:
                    node.input[index] = fresh_name(name, taken)
                    draft.constants[node.input[index]] = draft.constants[name]
    read = set(draft.readers())
    draft.constants = {name: array for name, array in draft.constants.items() if name in read}


def _check_outputs(draft: Draft) -> None:
    given = {value.name for value in draft.graph.input}
    made = {name for node in draft.graph.node for name in node.output}
    seen: set[str] = set()
    for value in draft.graph.output:
        where = f"output {value.name}"
        fix = "Take it out of the graph's outputs."
        if value.name in seen:
            raise ModelError("is listed twice", where=where, fix=fix)
        if value.name in draft.constants:
            raise ModelError("is a constant", where=where, fix=fix)
        if value.name in given:
            raise ModelError("is a graph input as it came", where=where, fix=fix)
        if value.name not in made:
            raise ModelError("nothing makes it", where=where, fix="Export the model again.")
        seen.add(value.name)


def fresh_name(hint: str, taken: set[str]) -> str:
    """`hint`, or it with the first number that makes it new; added to `taken`."""
    name, count = hint, 1
    while name in taken:
        name, count = f"{hint}.{count}", count + 1
    taken.add(name)
    return name
