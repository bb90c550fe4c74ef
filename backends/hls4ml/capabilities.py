"""What hls4ml gets right, and what is refused because it does not.

hls4ml 1.3.0 was held to qonnx's executor on over a hundred small models. Some come out wrong without a word, others
stop with an error that names nothing. Here each is lowered to something that is exact (averages become depthwise
convolutions, batch normalisations are folded) or refused, by the name of its node.
"""

from __future__ import annotations

from collections.abc import Callable

from bitsmith.backend import Refusal
from bitsmith.backends.hls4ml import options
from bitsmith.backends.qonnx.capabilities import node_refusals, target_refusals
from bitsmith.backends.qonnx.tables import closed_form
from bitsmith.errors import UnsupportedError
from bitsmith.ir.elementwise import FUNCTIONS
from bitsmith.ir.fusion import caps_of, clamp_of, riders
from bitsmith.ir.graph import Graph, Node
from bitsmith.ir.integer import (
    Add,
    AveragePool,
    Concat,
    Conv,
    IntegerGraph,
    InterpolatedTable,
    Linear,
    MaxPool,
    Mul,
    Operation,
    Pad,
    Requantize,
    Reshape,
    Resize,
    Slice,
    Table,
    Transpose,
)
from bitsmith.ir.interpolation import written_out
from bitsmith.ir.pooling import window_of
from bitsmith.target import Target

RELU = "Use Relu, or LeakyRelu with a slope that is a power of two."
TABLE = "hls4ml's tables are not exact"

FORBIDDEN: dict[str, tuple[str, str]] = {
    **dict.fromkeys(FUNCTIONS.keys() - {"LeakyRelu", "Relu"}, (TABLE, RELU)),
    "Clip": ("hls4ml has no Clip", RELU),
    "Min": ("hls4ml has no bound per channel", RELU),
    "PRelu": ("hls4ml's PReLU is not exact", RELU),
    "Resize": (
        "hls4ml's Resize asks for regions of interest that no exporter writes",
        "Use strides, or the target qonnx.",
    ),
    "Slice": ("hls4ml has no Slice", "Use two layers in place of one that is cut."),
}


WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Ops whose multipliers may be used in turn."""

ELSEWHERE = "Use the target qonnx, or c."


def _convolution(node: Node) -> str | None:
    weight, groups = node.constant(1), int(node.attribute("group", 1))
    if set(node.attribute("dilations", [1])) != {1}:
        return "it is dilated"
    channels = node.operand(0).sample_shape[0]
    if weight is not None and groups != 1 and not groups == channels == len(weight):
        return f"it has {groups} groups for {channels} channels and {len(weight)} filters"
    return None


def _product(node: Node) -> str | None:
    return None if len(node.operand(0).sample_shape) == 1 else "it multiplies along the last of several axes"


def _elementwise(node: Node) -> str | None:
    if node.op == "Sub":
        return "it subtracts"
    operands = [value for value in node.inputs if value is not None]
    if any(value.constant is not None for value in operands) or len({value.shape for value in operands}) > 1:
        return "it broadcasts, or one of its operands is constant"
    return None


def _maximum(node: Node) -> str | None:
    window = window_of(node)
    if len(window.kernel) != 2:
        return "it pools over one axis"
    return "it pools over dilated or padded windows" if any(window.pads) or set(window.dilations) != {1} else None


def _joined(node: Node) -> str | None:
    axis = int(node.attribute("axis")) % node.output.rank
    return None if axis == 1 and len(node.inputs) == 2 else "it concatenates more than two, or not channels"


def _moved(node: Node) -> str | None:
    return "it moves elements"


STRUCTURE: dict[str, Callable[[Node], str | None]] = {
    "Add": _elementwise,
    "Concat": _joined,
    "Conv": _convolution,
    "Gemm": _product,
    "MatMul": _product,
    "MaxPool": _maximum,
    "Mul": _elementwise,
    "Pad": _moved,
    "Reshape": lambda node: None if node.output.rank == 2 else "it reshapes to more than one axis",
    "Sub": _elementwise,
    "Transpose": _moved,
}
"""Why a node has a form that `require_exact` will refuse, or None."""


def refusals(graph: Graph, target: Target) -> list[Refusal]:
    """What in a target or a normalised float graph cannot come out of hls4ml exactly."""
    found = [*target_refusals(target), *options.refusals(target, [node.name for node in graph.nodes(*WEIGHTED)])]
    if "channel" in target.granularities or "group" in target.granularities:
        where = f"target {target.name}"
        fix = 'Give granularities = ["tensor"].'
        found.append(Refusal(where, "hls4ml takes one scale for all weights of a layer", fix))
    others = node_refusals(graph)
    known = {refusal.where for refusal in others}
    riding = riders(graph)
    own = [_node(node) for node in graph.nodes() if node not in riding]
    return [*found, *(one for one in own if one is not None and one.where not in known), *others]


def _node(node: Node) -> Refusal | None:
    if node.op in FORBIDDEN:
        return Refusal(node.where, *FORBIDDEN[node.op])
    lowest, highest = clamp_of(node)
    if lowest not in (0.0, float("-inf")) or highest != float("inf") or caps_of(node) is not None:
        return Refusal(node.where, "its result is clipped, and hls4ml has no Clip", RELU)
    if node.op in STRUCTURE and (reason := STRUCTURE[node.op](node)) is not None:
        return Refusal(node.where, f"{reason}, which hls4ml is not known to do exactly", ELSEWHERE)
    if node.op == "LeakyRelu":
        slope = float(node.attribute("alpha", 0.01))
        if slope <= 0 or slope.hex().split("p")[0] != "0x1.0000000000000":
            return Refusal(node.where, f"its slope of {slope:g} is not a power of two", RELU)
    return None


def require_exact(graph: IntegerGraph) -> None:
    """Refuse an operation that hls4ml is not known to compute exactly, before anything is converted."""
    for operation in graph:
        reason = _reason(graph, operation)
        if reason is not None:
            raise UnsupportedError(
                f"{reason}, which hls4ml is not known to do exactly",
                where=f"{operation.kind} {operation.name}",
                fix=ELSEWHERE,
            )


def _reason(graph: IntegerGraph, operation: Operation) -> str | None:  # noqa: C901 - one case an operation
    shapes = [value.shape for value in graph.operands(operation)]
    result = graph.result(operation)
    match operation:
        case Conv():
            return _conv(operation, shapes[0][0]) or _clamp(graph, operation, operation.requantize)
        case Linear():
            if len(shapes[0]) != 1:
                return "it multiplies along the last of several axes"
            if operation.weight_format.is_per_channel:
                return "its weights have a scale per channel"
            return _clamp(graph, operation, operation.requantize)
        case AveragePool():
            if len(set(operation.dilations)) > 1 or set(operation.dilations) != {1}:
                return "it pools over dilated windows"
            return _clamp(graph, operation, operation.requantize)
        case Add() | Mul():
            if min(operation.multipliers if isinstance(operation, Add) else (1,)) < 0:
                return "it subtracts"
            if any(name in graph.constants for name in operation.inputs) or len({*shapes, result.shape}) > 1:
                return "it broadcasts, or one of its operands is constant"
            return _clamp(graph, operation, operation.requantize)
        case MaxPool():
            if len(operation.kernel) != 2:
                return "it pools over one axis"
            if set(operation.dilations) != {1} or any(operation.pads):
                return "it pools over dilated or padded windows"
            return None
        case Concat():
            return (
                None if operation.axis == 0 and len(shapes) == 2 else "it concatenates more than two, or not channels"
            )
        case Reshape():
            return None if len(result.shape) == 1 else "it reshapes to more than one axis"
        case Table() | InterpolatedTable():
            source = graph.values[operation.inputs[0]].format
            table = operation if isinstance(operation, Table) else written_out(operation, result.format.type)
            return None if closed_form(table, source, result.format) is not None else "it is a table"
        case Pad() | Resize() | Slice() | Transpose():
            return "it moves elements"
        case _:
            return f"{operation.kind} is new"


def _conv(operation: Conv, channels: int) -> str | None:
    if set(operation.dilations) != {1}:
        return "it is dilated"
    if operation.groups != 1 and not operation.groups == channels == len(operation.weight):
        return f"it has {operation.groups} groups for {channels} channels and {len(operation.weight)} filters"
    return "its weights have a scale per channel" if operation.weight_format.is_per_channel else None


def _clamp(graph: IntegerGraph, operation: Operation, rule: Requantize) -> str | None:
    kind = graph.result(operation).format.type
    clamped = rule.lowest not in (kind.lowest, 0) or rule.highest != kind.highest or rule.caps is not None
    return f"its result is clipped to [{rule.lowest}, {rule.highest}] in {kind}" if clamped else None
