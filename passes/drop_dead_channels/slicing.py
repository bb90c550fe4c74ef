"""The graph and its statistics without some channels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.ir.statistics import Gram, Histogram, Statistics
from bitsmith.passes.drop_dead_channels.choice import Mask, is_depthwise
from bitsmith.passes.drop_dead_channels.ranges import Ranges
from bitsmith.passes.equalize.channels import Linear

ROUNDING = 1e-6
"""Of a bin, by which float64 may miss an edge."""


def slice_graph(
    graph: Graph, linear: Sequence[Linear], kept: Mapping[Value, Mask], ranges: Mapping[Value, Ranges]
) -> dict[Node, int]:
    """Keep these channels of values alone; returns how many output channels each layer lost.

    kept: by value, (channels,); values that keep all are left out.
    """
    lost = {}
    for one in linear:
        made, read = kept.get(one.node.output), kept.get(one.node.operand(0))
        if read is not None and not is_depthwise(one.node):
            _fold(one.node, read, ranges[one.node.operand(0)])
            one.node.operand(1).constant = one.node.array(1)[:, read]
        if made is not None:
            one.node.operand(1).constant = one.node.array(1)[made]
            bias = one.node.constant(2)
            if bias is not None:
                one.node.operand(2).constant = bias[made]
            lost[one.node] = int((~made).sum())
        if read is not None and is_depthwise(one.node):
            one.node.set_attributes(group=int(read.sum()))
    for value, channels in kept.items():
        maker = value.producer
        if maker is not None and maker.op == "Min":
            _slice_caps(maker, channels)
        value.set_channels(int(channels.sum()))
    for node in graph.nodes("Reshape"):
        if node.output in kept:
            node.set_constant(1, "shape", np.array([0, *node.output.sample_shape], np.int64))
    return lost


def _fold(node: Node, read: Mask, x: Ranges) -> None:
    """Add what the channels that go contribute to the bias: the same at every position."""
    constant = x.constant[~read].astype(np.float64)
    if not constant.any():
        return
    weight = node.array(1)
    added = weight[:, ~read].reshape(len(weight), len(constant), -1).sum(axis=2, dtype=np.float64) @ constant
    bias = node.constant(2)
    total = added if bias is None else bias.astype(np.float64).ravel() + added
    node.set_constant(2, "bias", total.astype(np.float32))


def _slice_caps(node: Node, channels: Mask) -> None:
    """A bound for each channel, shaped (1, channels, 1, ...) or with leading ones left out."""
    caps = node.array(1)
    node.operand(1).constant = np.compress(channels, caps, axis=caps.ndim + 1 - node.output.rank)


def slice_statistics(
    graph: Graph, statistics: Statistics, kept: Mapping[Value, Mask], ranges: Mapping[Value, Ranges]
) -> Statistics:
    """What was seen of the channels that are left."""
    values, grams = dict(statistics.values), dict(statistics.grams)
    for value, channels in kept.items():
        if value.name in values:
            seen = values[value.name]
            each = statistics.samples * math.prod(value.sample_shape[1:])
            values[value.name] = replace(
                seen,
                channel_mean=seen.channel_mean[channels],
                histogram=None
                if seen.histogram is None
                else _less(seen.histogram, ranges[value].constant[~channels], each),
            )
    for node in graph.nodes("Conv", "Gemm"):
        read = kept.get(node.operand(0))
        if node.output.name in grams and read is not None:
            grams[node.output.name] = _narrowed(grams[node.output.name], read)
    return replace(statistics, values=values, grams=grams)


def _less(histogram: Histogram, constants: npt.NDArray[np.float32], each: int) -> Histogram:
    """Without so many elements of each of these numbers.

    Where one is NaN, a channel that goes was never constant: no weight reads it. Its elements stay counted.
    """
    counts = histogram.counts.copy()
    known = constants[~np.isnan(constants)].astype(np.float64)
    # Zeros lie on an edge, and belong to the bin above it.
    places = np.floor((known - histogram.lowest) / histogram.width + ROUNDING)
    np.subtract.at(counts, np.clip(places.astype(np.int64), 0, len(counts) - 1), each)
    return replace(histogram, counts=np.maximum(counts, 0))


def _narrowed(gram: Gram, read: Mask) -> Gram:
    """The moments of the inputs that are left: of a depthwise layer, each of which has some of its own, or of one."""
    if len(gram.matrix) > 1:
        times = len(gram.matrix) // len(read)
        groups = np.repeat(read, times)
        return replace(gram, matrix=gram.matrix[groups], mean=gram.mean[groups])
    inputs = np.repeat(read, gram.mean.shape[1] // len(read))
    return replace(gram, matrix=gram.matrix[:, inputs][:, :, inputs], mean=gram.mean[:, inputs])
