"""Where a graph lets the scale of an activation's channels move into the weights that read it.

An activation qualifies where nothing but linear ops with constant weights reads it, and where what makes it can be
divided per channel: a normalisation, a product with constants or a linear op, through ops that commute with that.
"""

from __future__ import annotations

from dataclasses import dataclass

from bitsmith.ir.fusion import channel_caps
from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.ir.linear import LINEAR
from bitsmith.passes.affine import Affine, affine_of, channels_in, channels_out
from bitsmith.passes.canonicalize_gemm import canonicalize, is_canonical
from bitsmith.passes.equalize.channels import is_clip_from_zero, keeps_channel_order

NORMS = ("BatchNormalization", "LayerNormalization")
"""Ops that end in gamma * x + beta, which are operands 1 and 2."""

PRODUCTS = ("Div", "Mul")
SUMS = ("Add", "Sub")
RECTIFIERS = ("LeakyRelu", "Relu")


@dataclass(frozen=True, eq=False)
class Site:
    """An activation whose channels can be divided.

    value:   the activation, channels along `axis`.
    readers: the linear ops that multiply it; nothing else reads it.
    makers:  what is between the op that takes 1 / s, the last of them, and the activation, which the first makes.
    """

    value: Value
    axis: int
    readers: tuple[Node, ...]
    makers: tuple[Node, ...]

    @property
    def channels(self) -> int:
        return self.value.sample_shape[self.axis - 1]


def sites(graph: Graph) -> tuple[list[Site], list[tuple[Node, str]]]:
    """All sites in execution order, and of other activations of linear ops the first reader and why they are none.

    Linear ops are brought to canonical form on the way.
    """
    found: list[Site] = []
    refused: list[tuple[Node, str]] = []
    seen: set[Value] = set()
    for node in graph.nodes(*LINEAR):
        value = node.operand(0)
        if value in seen or value.constant is not None:
            continue
        seen.add(value)
        site = _site(node, value)
        if isinstance(site, str):
            refused.append((node, site))
        else:
            found.append(site)
    return found, refused


def _site(first: Node, value: Value) -> Site | str:
    if value.is_input:
        return f"{value.name} is an input of the graph"
    if value.is_output:
        return f"{value.name} is an output of the graph"
    readers = tuple(node for node in _in_order(first, value))
    for node in readers:
        if node.op not in LINEAR:
            return f"{node.where} reads {value.name} too, and has no weights that could take the scale"
        reason = _unscalable(node, value)
        if reason is not None:
            return reason
    axes = {channels_in(node) for node in readers}
    if len(axes) > 1:
        return f"its readers count channels of {value.name} along different axes"
    (axis,) = axes
    makers = _makers(value, axis)
    return makers if isinstance(makers, str) else Site(value, axis, readers, makers)


def _in_order(first: Node, value: Value) -> list[Node]:
    """The readers of a value by name, the first of the graph in front."""
    return [first, *sorted((node for node in value.consumers if node != first), key=lambda node: node.name)]


def _unscalable(node: Node, value: Value) -> str | None:
    """Why the weight of a linear op cannot be scaled per channel of `value`, or None."""
    if node.operand(0) != value or node.input(1) == value or node.constant(1) is None:
        return f"the weight of {node.where} is not constant"
    reason = None if is_canonical(node) else canonicalize(node)
    return None if reason is None else f"{node.where}: {reason}"


def _makers(value: Value, axis: int) -> tuple[Node, ...] | str:
    """What makes a value, up to the op that takes the scale; or why none does."""
    makers: list[Node] = []
    made = value
    while True:
        node = made.producer
        if node is None:
            return f"{made.name} is an input of the graph"
        makers.append(node)
        if node.op in (*LINEAR, *NORMS, *PRODUCTS):
            reason = _no_source(node, axis)
            return tuple(makers) if reason is None else reason
        reason = _blocked(node, axis)
        if reason is not None:
            return reason
        made = next(operand for operand in node.inputs if operand is not None and operand.constant is None)
        if made.is_shared:
            return f"{made.name} is used elsewhere too"


def _no_source(node: Node, axis: int) -> str | None:
    """Why a linear op, a normalisation or a product cannot take 1 / s, or None."""
    if node.op in LINEAR:
        reason = _unscalable(node, node.operand(0))
        if reason is None and channels_out(node) != axis:
            return f"{node.where} makes channels along axis {channels_out(node)}, and axis {axis} is read"
        return reason
    if node.op in PRODUCTS:
        return _not_by_channel(node, axis)
    normalised = 1 if node.op == "BatchNormalization" else int(node.attribute("axis", -1)) % node.outputs[0].rank
    if normalised != axis or (node.op == "LayerNormalization" and axis != node.outputs[0].rank - 1):
        return f"{node.where} has a gain for more or other axes than axis {axis}, which is read"
    gain, shift = node.constant(1), node.constant(2)
    if gain is None or (node.input(2) is not None and shift is None):
        return f"the gain of {node.where} is not constant"
    if node.attribute("training_mode", 0):
        return f"{node.where} is in training mode"
    return None


def _not_by_channel(node: Node, axis: int) -> str | None:
    """Why a product or sum is not one with a constant per channel, or None."""
    if node.operand(0).constant is None and node.operand(1).constant is None:
        return f"{node.where} joins two computed values, so no single op could take the scale"
    found = affine_of(node)
    if not isinstance(found, Affine):
        return f"{node.where}: {found}"
    return None if found.fits(axis) else f"the constant of {node.where} varies along another axis than channels"


def _blocked(node: Node, axis: int) -> str | None:
    """Why a positive scale per channel does not pass through a node, or None.

    It would pass through averages too, but what they average has a grid of its own, whose error nothing here weighs.
    """
    if len(node.outputs) != 1:
        return f"{node.where} has several outputs"
    if node.op in SUMS:
        return _not_by_channel(node, axis)
    if node.op in RECTIFIERS:
        return None
    if node.op == "PRelu":
        is_constant = node.constant(1) is not None and node.operand(0).constant is None
        return None if is_constant else f"the slope of {node.where} is not constant"
    if axis == 1 and node.op == "MaxPool":
        return None
    if axis == 1 and node.op == "Clip" and is_clip_from_zero(node):
        return None
    if axis == 1 and node.op == "Min" and channel_caps(node) is not None:
        return None
    if axis == 1 and node.op == "Reshape":
        before, after = node.operand(0), node.output
        if before.shape[1] == after.shape[1] and keeps_channel_order(before, after):
            return None
        return f"{node.where} mixes channels with space"
    return f"{node.where} is not known to commute with a scale per channel"
