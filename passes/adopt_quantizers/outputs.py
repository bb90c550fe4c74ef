"""Formats for what a file leaves in float, outputs and operands of sums: 16 bits over the bound of what makes them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bitsmith.errors import UnsupportedError
from bitsmith.faults import Faults
from bitsmith.ir.formats import Format, IntegerType, symmetric, to_power_of_two
from bitsmith.ir.fusion import group_output, materialised, riders
from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.ir.linear import LINEAR, bias_value, output_axis, weight_value
from bitsmith.ir.sharing import MOVES, format_groups, is_edge
from bitsmith.passes.adopt_quantizers.settle import QUANTIZE_BOTH
from bitsmith.target import Target

BITS = 16


def derive(graph: Graph, formats: Mapping[Value, Format], target: Target, faults: Faults) -> dict[Value, Format]:
    """A format for each output without one, and for what only sums read; any other value without one is a fault.

    ModelOpt leaves one operand of a residual's sum in float, so that TensorRT adds to the accumulator itself. What a
    layer reads in float is told of that layer.
    """
    riding = riders(graph)
    makers = {group_output(node): node for node in graph.nodes() if node not in riding and node.op != "Softmax"}
    found: dict[Value, Format] = {}
    for group in format_groups(graph, [value for value in materialised(graph) if value not in formats]):
        if not any(reader.op in LINEAR and reader.operand(0) == value for value in group for reader in value.consumers):
            with faults.held():
                found |= dict.fromkeys(group, _derived(group, makers, formats, target))
    return found


def _derived(
    group: list[Value], makers: Mapping[Value, Node], formats: Mapping[Value, Format], target: Target
) -> Format:
    """The format of values that share one, by what makes them."""
    made = [makers[value] for value in group if value in makers and makers[value].op not in MOVES]
    reaches = [_reach(maker, formats) for maker in made]
    if not made or None in reaches or not (any(is_edge(value) for value in group) or _is_summed(group)):
        where = f"input {group[0].name}" if group[0] not in makers else makers[group[0]].where
        raise UnsupportedError(f"{group[0].name} is left in float", where=where, fix=QUANTIZE_BOTH)
    if BITS not in target.activation_bits:
        raise UnsupportedError(
            f"{group[-1].name} is left in float, and {target.name} runs nothing of {BITS} bits to hold it",
            where=made[0].where,
            fix="Quantize it too.",
        )
    format = symmetric(max(reach for reach in reaches if reach is not None), IntegerType(BITS))
    return format if target.scales == "free" else to_power_of_two(format)


def _is_summed(group: list[Value]) -> bool:
    """Whether it is one value, which nothing but sums reads."""
    readers = group[0].consumers
    return len(group) == 1 and bool(readers) and all(reader.op in ("Add", "Sub") for reader in readers)


def _reach(node: Node, formats: Mapping[Value, Format]) -> float | None:
    """The largest magnitude that an op can make of operands on their grids; None where there is no telling."""
    operands = [one for one in node.inputs if one is not None]
    if node.op in LINEAR and operands[0] in formats:
        weight, bias = weight_value(node).array, bias_value(node)
        rows = np.abs(np.moveaxis(weight.astype(np.float64), output_axis(node), 0)).reshape(
            weight.shape[output_axis(node)], -1
        )
        reach = rows.sum(axis=1) * _largest(formats[operands[0]])
        if bias is not None and bias.constant is not None:
            reach = reach + np.abs(bias.constant.astype(np.float64).ravel())
        return float(reach.max())
    if node.op in ("Add", "Sub") and all(one in formats for one in operands):
        return sum(_largest(formats[one]) for one in operands)
    if node.op in ("AveragePool", "GlobalAveragePool") and operands[0] in formats:
        return _largest(formats[operands[0]])
    return None


def _largest(format: Format) -> float:
    """The largest magnitude on a grid."""
    ends = (format.type.lowest - format.zero_point, format.type.highest - format.zero_point)
    return format.scale[0] * max(abs(end) for end in ends)
