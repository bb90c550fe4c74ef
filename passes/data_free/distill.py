"""Inputs on which a model's activations have the statistics that its batch normalisations remember."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.execution.runtime import Session
from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.ir.moments import ClippedNormal, InputMoments
from bitsmith.passes.data_free.inputs import noise
from bitsmith.passes.data_free.reverse import Tape, reverse, unknown
from bitsmith.progress import Progress

FloatArray = npt.NDArray[np.float32]

SMALL = 1e-2
"""Of a layer's mean variance: added to each channel's, so that dead channels do not outweigh all others."""

FIRST_DECAY, SECOND_DECAY, STABILITY = 0.9, 0.999, 1e-8
"""Adam's constants (Kingma and Ba 2014, arXiv:1412.6980)."""


@dataclass(frozen=True)
class Distillation:
    """A graph that computes, for a batch of inputs, how far its statistics are off and the gradient of that.

    The loss, summed over values and averaged over their channels c, is

        ((mean_c - m_c) / sigma_c)^2 + ((deviation_c - s_c) / sigma_c)^2,

    with m and s the mean and deviation that are wanted and sigma_c^2 = s_c^2 + small: ZeroQ's loss (Cai et al.
    2020, arXiv:2001.00281, equation 3), in units of each channel's own deviation, so that no layer outweighs others.
    """

    session: Session
    loss: str
    gradients: Mapping[str, str]


def prepared(graph: Graph, wanted: Mapping[str, ClippedNormal], batch: int) -> Distillation | list[Node]:
    """The graph that distils batches of `batch` inputs; or the nodes whose reverse pass is not known."""
    copy = graph.copy()
    values = [value for value in copy.values() if value.name in wanted and not value.is_input]
    nodes = _leading_to(copy, values)
    missing = unknown(nodes)
    if missing:
        return missing
    tape = Tape(copy)
    losses, gradients = [], {}
    for value in values:
        loss, gradient = _loss(tape, value, wanted[value.name], batch)
        losses.append(loss)
        gradients[value] = gradient
    total = losses[0]
    for loss in losses[1:]:
        total = tape.add("Add", [total, loss], [])
    found = reverse(tape, gradients, nodes)
    names = {value.name: found[value].name for value in copy.inputs if value in found}
    return Distillation(Session(copy, [total.name, *names.values()]), total.name, names)


def distilled(
    work: Distillation,
    inputs: Mapping[str, tuple[tuple[int, ...], InputMoments]],
    *,
    samples: int,
    batch: int,
    steps: int,
    rate: float,
    random: np.random.Generator,
    progress: Progress,
) -> tuple[dict[str, FloatArray], float, float]:
    """Inputs by name (samples, ...), and the loss before and after, mean over batches.

    Each batch starts as noise and is moved by Adam; the rate falls to 0 along half a cosine.
    rate: of a step, in standard deviations of the input.
    """
    parts: list[dict[str, FloatArray]] = []
    before, after = 0.0, 0.0
    rounds = math.ceil(samples / batch)
    for index in range(rounds):
        current = {name: noise((batch, *shape), moments, random) for name, (shape, moments) in inputs.items()}
        first = {name: np.zeros_like(array) for name, array in current.items()}
        second = {name: np.zeros_like(array) for name, array in current.items()}
        best, least = current, math.inf
        for step in range(1, steps + 2):
            progress("distil inputs", index * steps + step - 1, rounds * steps)
            results = work.session.run(current)
            loss = float(results[work.loss])
            before += loss / rounds if step == 1 else 0.0
            if loss < least:
                best, least = current, loss
            if step > steps:
                break
            moved = dict(current)
            scale = 0.5 * (1 + math.cos(math.pi * (step - 1) / steps))
            for name, made in work.gradients.items():
                g, moments = results[made], inputs[name][1]
                first[name] += (1 - FIRST_DECAY) * (g - first[name])
                second[name] += (1 - SECOND_DECAY) * (g * g - second[name])
                mean = first[name] / (1 - FIRST_DECAY**step)
                root = np.sqrt(second[name] / (1 - SECOND_DECAY**step)) + STABILITY * math.sqrt(float(np.mean(g * g)))
                size = np.float32(rate * scale * math.sqrt(moments.variance))
                moved[name] = np.clip(current[name] - size * mean / root, moments.lowest, moments.highest)
            current = {name: array.astype(np.float32) for name, array in moved.items()}
        parts.append(best)
        after += least / rounds
    progress("distil inputs", rounds * steps, rounds * steps)
    return {name: np.concatenate([part[name] for part in parts])[:samples] for name in inputs}, before, after


def _leading_to(graph: Graph, values: list[Value]) -> list[Node]:
    """The nodes that any of `values` depends on, in execution order."""
    needed = set(values)
    nodes = []
    for node in reversed(graph.nodes()):
        if node.output in needed:
            nodes.append(node)
            needed.update(value for value in node.inputs if value is not None)
    return nodes[::-1]


def _loss(tape: Tape, value: Value, wanted: ClippedNormal, batch: int) -> tuple[Value, Value]:
    """The loss of one value, and its gradient in the value.

    With M elements a channel, C channels and d = x - mean, the gradient is

        2 / (C M sigma_c^2) * ((mean_c - m_c) + (deviation_c - s_c) d / deviation_c).
    """
    rank = value.rank
    axes = tape.constant([0, *range(2, rank)], np.int64)
    per_channel = (1, value.sample_shape[0], *[1] * (rank - 2))

    def spread(array: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return array.reshape(per_channel)

    variance = wanted.deviation**2
    sigma = np.sqrt(variance + SMALL * float(variance.mean()) + 1e-12)
    mean = tape.add("ReduceMean", [value, axes], per_channel, keepdims=1)
    apart = tape.add("Sub", [value, mean], value)
    squares = tape.add("ReduceMean", [tape.add("Mul", [apart, apart], value), axes], per_channel, keepdims=1)
    # The floor keeps the root's slope finite in a channel that is constant.
    floored = tape.add("Add", [squares, tape.constant(spread(1e-6 * sigma**2))], per_channel)
    deviation = tape.add("Sqrt", [floored], per_channel)
    off_mean = tape.add("Sub", [mean, tape.constant(spread(wanted.centre))], per_channel)
    off_deviation = tape.add("Sub", [deviation, tape.constant(spread(wanted.deviation))], per_channel)
    loss = None
    for off in (off_mean, off_deviation):
        relative = tape.times(off, spread(1 / sigma))
        part = tape.add("ReduceMean", [tape.add("Mul", [relative, relative], per_channel)], [], keepdims=0)
        loss = part if loss is None else tape.add("Add", [loss, part], [])
    assert loss is not None
    elements = batch * math.prod(value.sample_shape)
    slope = tape.add("Div", [off_deviation, deviation], per_channel)
    gradient = tape.add("Add", [tape.add("Mul", [apart, slope], value), off_mean], value)
    return loss, tape.times(gradient, spread(2 / (elements * sigma**2)))
