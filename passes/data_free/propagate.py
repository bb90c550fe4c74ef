"""Moments of every activation from those that are known: one rule per op.

Channels are taken to be independent, and a channel to vary slowly over space (so that the mean of a window varies
as its elements do). Each result is again a normal per channel, clipped to what can occur.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from bitsmith.ir.elementwise import FUNCTIONS, apply
from bitsmith.ir.fusion import channel_caps, is_left_to_host
from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.ir.moments import ClippedNormal, Vector

Known = dict[str, ClippedNormal]
Rule = Callable[[Node, list[ClippedNormal]], ClippedNormal]

FAR, LOOKED_AT = 12.0, 241
"""Deviations within which the extremes of a function are looked for, and at how many points."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
"""Points and weights of a Gauss-Hermite quadrature under exp(-x^2/2)."""


def propagate(graph: Graph, known: Mapping[str, ClippedNormal]) -> Known:
    """The distribution of every computed value of a normalised graph; what is `known` stands."""
    found: Known = dict(known)
    for node in graph.nodes():
        name = node.output.name
        if name not in found:
            operands = [_operand(value, node, found) for value in node.inputs if value is not None]
            found[name] = RULES[node.op](node, operands)
    return found


def _operand(value: Value, node: Node, found: Known) -> ClippedNormal:
    """What is known of an operand; a constant spread over the channels of the node's output."""
    if value.constant is None:
        return found[value.name]
    array = np.asarray(value.constant, np.float64)
    channels = node.output.shape[1] or 1
    rank = node.output.rank
    if array.ndim <= rank and node.op in ("Add", "Sub", "Mul"):
        aligned = array.reshape((1,) * (rank - array.ndim) + array.shape)
        apart = np.moveaxis(aligned, 1, 0).reshape(aligned.shape[1], -1)
        apart = np.broadcast_to(apart, (channels, apart.shape[1]))
        return ClippedNormal.of(apart.mean(axis=1), apart.var(axis=1), apart.min(axis=1), apart.max(axis=1))
    return ClippedNormal.of(np.zeros(1), np.zeros(1))


def pooled(value: ClippedNormal, channels: int) -> ClippedNormal:
    """One normal for all channels together, given to each of `channels`."""
    mean = float(value.mean.mean())
    variance = float(value.variance.mean() + value.mean.var())
    bounds = float(value.lowest.min()), float(value.highest.max())
    return ClippedNormal.of(np.full(channels, mean), variance, *bounds)


def fitted(value: ClippedNormal, channels: int) -> ClippedNormal:
    """The same value where it has as many channels, else one distribution for all."""
    return value if value.channels == channels else pooled(value, channels)


def _channels(node: Node) -> int:
    return node.output.shape[1] or 1


def _conv(node: Node, operands: list[ClippedNormal]) -> ClippedNormal:
    """E[y] = sum W E[x] + b away from the border, and the larger of two variances.

    Elements of one channel under the kernel are somewhere between independent, sum_k W^2 Var[x], and alike,
    (sum_k W)^2 Var[x].
    """
    weight = node.array(1)
    groups = int(node.attribute("group", 1))
    parts = weight.astype(np.float64).reshape(groups, len(weight) // groups, weight.shape[1], -1)
    mean, variance = (moment.reshape(groups, -1) for moment in (operands[0].mean, operands[0].variance))
    made = np.einsum("goik,gi->go", parts, mean).ravel()
    parts_alike = parts.sum(axis=3) ** 2
    spread = np.einsum("goi,gi->go", np.maximum((parts**2).sum(axis=3), parts_alike), variance).ravel()
    return ClippedNormal.of(made + _bias(node), spread)


def _gemm(node: Node, operands: list[ClippedNormal]) -> ClippedNormal:
    weight = node.array(1)
    matrix = weight.astype(np.float64)
    value = fitted(operands[0], matrix.shape[1])
    return ClippedNormal.of(matrix @ value.mean + _bias(node), matrix**2 @ value.variance)


def _matmul(node: Node, operands: list[ClippedNormal]) -> ClippedNormal:
    """Features lie along the last axis, which carries no statistics of its own: all of them share one normal."""
    weight = node.constant(1)
    if weight is None:
        return _summed_products(node, operands)
    matrix = weight.astype(np.float64)
    value = pooled(operands[0], matrix.shape[0])
    made = ClippedNormal.of(matrix.T @ value.mean, (matrix.T) ** 2 @ value.variance)
    return pooled(made, _channels(node))


def _bias(node: Node) -> Vector:
    held = node.constant(2)
    return np.zeros(1) if held is None else np.asarray(held, np.float64).reshape(-1)


def _clip(node: Node, operands: list[ClippedNormal]) -> ClippedNormal:
    low, high = node.constant(1), node.constant(2)
    bounds = -math.inf if low is None else float(low), math.inf if high is None else float(high)
    return operands[0].clipped(*bounds)


def _min(node: Node, operands: list[ClippedNormal]) -> ClippedNormal:
    caps = channel_caps(node)
    assert caps is not None
    return operands[0].clipped(-math.inf, caps.astype(np.float64))


def _sum(node: Node, operands: list[ClippedNormal], sign: float = 1.0) -> ClippedNormal:
    first, second = (fitted(one, _channels(node)) for one in operands)
    ends = (second.lowest, second.highest) if sign > 0 else (-second.highest, -second.lowest)
    mean, variance = first.mean + sign * second.mean, first.variance + second.variance
    return ClippedNormal.matching(mean, variance, first.lowest + ends[0], first.highest + ends[1])


def _product(node: Node, operands: list[ClippedNormal]) -> ClippedNormal:
    """Var[xy] = Var[x] Var[y] + Var[x] E[y]^2 + Var[y] E[x]^2."""
    first, second = (fitted(one, _channels(node)) for one in operands)
    a, b = first.mean, second.mean
    variance = first.variance * second.variance + first.variance * b**2 + second.variance * a**2
    with np.errstate(invalid="ignore"):
        corners = np.stack([x * y for x in (first.lowest, first.highest) for y in (second.lowest, second.highest)])
    # Zero times an unbounded value: that corner is 0.
    corners = np.where(np.isnan(corners), 0.0, corners)
    return ClippedNormal.matching(a * b, variance, corners.min(axis=0), corners.max(axis=0))


def _summed_products(node: Node, operands: list[ClippedNormal]) -> ClippedNormal:
    """A MatMul of two values: so many products that are independent of each other."""
    inner = node.operand(0).sample_shape[-1]
    product = _product(node, operands)
    return ClippedNormal.of(inner * product.mean, inner * product.variance)


def _softmax(node: Node, operands: list[ClippedNormal]) -> ClippedNormal:
    """Of n normals of deviation s the shares are lognormal over n times their mean: 1/n, variance (exp(s^2) - 1)/n^2.

    No variable from 0 to 1 varies more than mean * (1 - mean). One that the host does has its logits kept.
    """
    if is_left_to_host(node):
        return operands[0]
    mean = 1.0 / node.output.sample_shape[-1]
    spread = np.expm1(np.minimum(operands[0].variance, 50.0)) * mean**2
    channels = np.full(operands[0].channels, mean)
    low, high = np.zeros_like(channels), np.ones_like(channels)
    return ClippedNormal.matching(channels, np.minimum(spread, mean * (1 - mean)), low, high)


def _layer_norm(node: Node, operands: list[ClippedNormal]) -> ClippedNormal:
    """Deviation 1 about 0 over features, which gain and offset change. None is over sqrt(n - 1).

    Features lie along the last axis: at rank 2 each is a channel, else all of them share one normal.
    """
    width, rank = node.output.sample_shape[-1], node.output.rank
    held = [np.zeros(1) if a is None else np.asarray(a, np.float64).ravel() for a in map(node.constant, (1, 2))]
    gain, offset = (np.broadcast_to(one, width) for one in (held[0], held[1] if len(node.inputs) > 2 else np.zeros(1)))
    far = np.abs(gain) * math.sqrt(max(width - 1, 1))
    made = ClippedNormal.matching(offset, gain**2, offset - far, offset + far)
    return made if rank == 2 else pooled(made, _channels(node))


def _concat(node: Node, operands: list[ClippedNormal]) -> ClippedNormal:
    if int(node.attribute("axis")) % node.output.rank != 1:
        return _mixture(operands)
    sizes = [value.shape[1] or 1 for value in node.inputs if value is not None]
    parts = [fitted(one, size) for one, size in zip(operands, sizes, strict=True)]
    return ClippedNormal(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("centre", "deviation", "lowest", "highest")
        )
    )


def _mixture(parts: list[ClippedNormal]) -> ClippedNormal:
    means, variances = np.stack([one.mean for one in parts]), np.stack([one.variance for one in parts])
    lowest, highest = np.stack([one.lowest for one in parts]), np.stack([one.highest for one in parts])
    return ClippedNormal.of(
        means.mean(axis=0), variances.mean(axis=0) + means.var(axis=0), lowest.min(axis=0), highest.max(axis=0)
    )


def _moved(node: Node, operands: list[ClippedNormal]) -> ClippedNormal:
    """Elements that only move: along their channel, or each channel into a run of neighbours, or anyhow."""
    value, channels = operands[0], _channels(node)
    before = node.operand(0).shape[1]
    if node.op == "Reshape" and node.output.rank == 2 and before == value.channels:
        repeat = channels // value.channels
        return ClippedNormal(*(np.repeat(getattr(value, name), repeat) for name in _FIELDS))
    if node.op == "Slice":
        axes, starts, steps = (np.asarray(node.constant(index)).tolist() for index in (3, 1, 4))
        if 1 in axes and value.channels == before:
            place = axes.index(1)
            ends = np.asarray(node.constant(2)).tolist()
            chosen = slice(starts[place], _end(ends[place], steps[place], value.channels), steps[place])
            return ClippedNormal(*(getattr(value, name)[chosen] for name in _FIELDS))
    if node.op == "Transpose" and node.attribute("perm")[1] != 1:
        return pooled(value, channels)
    return fitted(value, channels)


_FIELDS = ("centre", "deviation", "lowest", "highest")


def _end(end: int, step: int, size: int) -> int | None:
    return None if step < 0 and end < -size else end


def _pad(node: Node, operands: list[ClippedNormal]) -> ClippedNormal:
    pads, filler = node.array(1), node.array(2)
    rank, value = node.output.rank, operands[0]
    before, after = int(pads[1]), int(pads[rank + 1])
    if not before and not after:
        return value
    fields = zip(_FIELDS, (float(filler), 0.0, float(filler), float(filler)), strict=True)
    return ClippedNormal(
        *(np.pad(getattr(value, name), (before, after), constant_values=number) for name, number in fields)
    )


def _function(of: Callable[[Node, Vector], Vector]) -> Rule:
    """Moments of a function of one value, by quadrature of what is clipped."""

    def rule(node: Node, operands: list[ClippedNormal]) -> ClippedNormal:
        value = operands[0]
        points = value.centre[:, None] + value.deviation[:, None] * _NODES
        results = of(node, np.clip(points, value.lowest[:, None], value.highest[:, None]))
        weights = _WEIGHTS / _WEIGHTS.sum()
        mean = results @ weights
        low, high = value.ends(FAR)
        seen = of(node, np.linspace(low, high, LOOKED_AT, axis=1))
        variance = (results - mean[:, None]) ** 2 @ weights
        return ClippedNormal.matching(mean, variance, seen.min(axis=1), seen.max(axis=1))

    return rule


def _prelu(node: Node, x: Vector) -> Vector:
    slope = node.array(1)
    return np.where(x < 0, np.asarray(slope, np.float64).reshape(-1, 1) * x, x)


RULES: dict[str, Rule] = {
    **dict.fromkeys(FUNCTIONS, _function(apply)),
    "Add": _sum,
    "AveragePool": _moved,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": _moved,
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    "MaxPool": _moved,
    "Min": _min,
    "Mul": _product,
    "PRelu": _function(_prelu),
    "Pad": _pad,
    "Relu": lambda node, operands: operands[0].clipped(0.0, math.inf),
    "Reshape": _moved,
    "Resize": _moved,
    "Slice": _moved,
    "Softmax": _softmax,
    "Sub": lambda node, operands: _sum(node, operands, -1.0),
    "Transpose": _moved,
}
"""A rule for every op of ir/legal.py."""
