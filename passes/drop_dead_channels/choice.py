"""Which channels can go: those that every layer which reads them can do without."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.passes.drop_dead_channels.ranges import Ranges, is_padded
from bitsmith.passes.equalize.channels import ChannelGroups, Linear

Mask = npt.NDArray[np.bool_]

CARRIERS = frozenset(
    ("Add", "AveragePool", "Clip", "Conv", "Gemm", "GlobalAveragePool", "MaxPool", "Min", "Relu", "Reshape")
)
"""Ops that work on whatever channels there are, or are told so by `slicing`."""


def is_depthwise(node: Node) -> bool:
    """Whether each channel that is made reads one channel alone."""
    return node.op == "Conv" and int(node.attribute("group", 1)) > 1 and node.array(1).shape[1] == 1


def dropped_groups(graph: Graph, groups: ChannelGroups, ranges: Mapping[Value, Ranges]) -> Mask:
    """By group of channels, whether it goes: (groups.count,)."""
    spare = groups.is_free
    for node in graph.nodes():
        if node.op not in CARRIERS:
            for value in (*node.inputs, *node.outputs):
                if value in groups.of:
                    spare[groups.of[value]] = False
    depthwise = [one for one in groups.linear if is_depthwise(one.node)]
    for one in groups.linear:
        if not is_depthwise(one.node):
            spare[one.reads[~_can_do_without(one.node, ranges[one.node.operand(0)])]] = False
    while True:
        before = spare.copy()
        for one in depthwise:
            _couple(one, spare)
        for channels in groups.of.values():
            if spare[channels].all():
                spare[channels[0]] = False  # a value of no channels is none
        if np.array_equal(spare, before):
            return spare


def _can_do_without(node: Node, x: Ranges) -> Mask:
    """The channels that a layer which sums over all of them can do without: (channels it reads,)."""
    if int(node.attribute("group", 1)) > 1:
        return np.zeros(len(x.lowest), np.bool_)
    found: Mask = (x.constant == 0) | (~np.isnan(x.constant) & (not is_padded(node)))
    return found


def _couple(one: Linear, spare: Mask) -> None:
    """A channel that a depthwise layer reads goes with all that it makes of it, or all of them stay."""
    goes = spare[one.reads] & spare[one.makes].reshape(len(one.reads), -1).all(axis=1)
    spare[one.reads[~goes]] = False
    spare[one.makes.reshape(len(one.reads), -1)[~goes].ravel()] = False
