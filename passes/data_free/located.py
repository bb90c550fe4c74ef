"""What became of normalised values, once passes have folded, scaled and shifted channels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bitsmith.ir.graph import Graph
from bitsmith.ir.moments import BatchNorms, ClippedNormal, NormalizedValue
from bitsmith.passes.record_batch_norms import probed

EXPLAINED = 0.99
"""Part of a value's variance on the probe that must follow from what it was."""


@dataclass(frozen=True, eq=False)
class Located:
    """known: what is known of values of the present graph, by name; the inputs among them.
    lost: why nothing is known of a value any more, by name."""

    known: dict[str, ClippedNormal]
    lost: dict[str, str]


def located(graph: Graph, norms: BatchNorms) -> Located:
    """The distribution of every recorded value as the graph computes it now.

    The rewrites that a graph undergoes act on channels as y' = k y + s. Least squares on the probe gives k and s
    for each channel, so with a running mean m and variance v of y, those of y' are k m + s and k^2 v.
    """
    known = {name: moments.distribution for name, moments in norms.inputs.items()}
    lost: dict[str, str] = {}
    made = {value.name: value for value in graph.values() if value.constant is None}
    here = [name for name, was in norms.values.items() if name in made and made[name].shape[1] == len(was.mean)]
    taken = probed(graph, here, norms.probe)
    for name, was in norms.values.items():
        if name not in taken:
            lost[name] = "no value of this name and size is left"
            continue
        found = _moved(was, np.asarray(taken[name], np.float64))
        if isinstance(found, str):
            lost[name] = found
        else:
            known[name] = found
    return Located(known, lost)


def _moved(was: NormalizedValue, now: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> ClippedNormal | str:
    before = np.asarray(was.probed, np.float64)
    if before.shape != now.shape:
        return "it has another shape now"
    middle, middle_now = before.mean(axis=1, keepdims=True), now.mean(axis=1, keepdims=True)
    x, y = before - middle, now - middle_now
    power = (x**2).sum(axis=1)
    # A channel that is constant on the probe tells its shift, and no scale.
    alive = power > 1e-10 * np.maximum((before**2).sum(axis=1), 1e-30)
    scale = np.where(alive, (x * y).sum(axis=1) / np.where(alive, power, 1.0), 1.0)
    left = float(((y - scale[:, None] * x) ** 2)[alive].sum())
    if left > (1 - EXPLAINED) * float((y**2)[alive].sum()):
        return "it is no longer what was normalised, channel by channel"
    shift = middle_now[:, 0] - scale * middle[:, 0]
    mean = np.where(alive, scale * was.mean + shift, middle_now[:, 0])
    return ClippedNormal.of(mean, scale**2 * np.where(alive, was.variance, 0.0), -math.inf, math.inf)
