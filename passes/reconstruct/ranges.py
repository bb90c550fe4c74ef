"""The range of an activation, chosen where the quantized network has come to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bitsmith.execution.fragment import fragment
from bitsmith.execution.patches import patches
from bitsmith.ir.formats import Format, affine, symmetric
from bitsmith.ir.graph import Graph, Node
from bitsmith.passes.reconstruct.moments import FloatArray, StreamingMoments
from bitsmith.passes.reconstruct.side_by_side import on_grid, to_integers
from bitsmith.passes.rounding.layer import outputs_by_group

FRACTIONS = tuple(float(part) for part in np.geomspace(0.08, 1.0, 12))
"""Of the extremes that were seen, at which both ends of a range are looked for first."""

NUDGES = ((0.75, 0.87, 1.15, 1.3), (0.93, 1.07), (0.96, 1.04))
"""Factors by which each end is then moved by itself, round by round."""

QUIET = 1e-3
"""Of the loudest sample's power: a sample with less counts as if it had so much."""

RIDGE = 1e-3
"""Of H's mean diagonal, added to it in a trial regression."""

Error = Callable[[Format], float]


def least(error: Error, seen: Sequence[FloatArray], old: Format) -> Format:
    """The format of `old`'s kind that errs least, over ranges whose ends are parts of the extremes that were seen.

    Both ends are moved together first, then each by itself in ever smaller steps.
    """
    lowest = min(min(float(array.min()) for array in seen), 0.0)
    highest = max(max(float(array.max()) for array in seen), 0.0)

    def make(low: float, high: float) -> Format:
        return _like(old, low * lowest, high * highest)

    best = min((error(make(part, part)), part, part) for part in FRACTIONS)
    # A symmetric grid, and one that begins at 0, has one end to move.
    ends = (0, 1) if lowest < 0 < highest and old.zero_point != 0 else (2,)
    for nudges in NUDGES:
        for end in ends:
            for nudge in nudges:
                low = min(best[1] * (nudge if end != 1 else 1.0), 1.0)
                high = min(best[2] * (nudge if end != 0 else 1.0), 1.0)
                best = min(best, (error(make(low, high)), low, high))
    return make(best[1], best[2])


def _like(old: Format, lowest: float, highest: float) -> Format:
    """A format of the same type over another range, with zero point 0 if the old one's is."""
    return affine(lowest, highest, old.type) if old.zero_point else symmetric(max(-lowest, highest), old.type)


def alike(batches: Sequence[FloatArray]) -> list[FloatArray]:
    """What each sample must count by, so that all count the same: over its power, the mean of all samples' powers."""
    powers = [np.sum(batch.reshape(len(batch), -1) ** 2, axis=1) for batch in batches]
    loudest = max(float(power.max()) for power in powers) or 1.0
    mean = float(np.mean(np.concatenate(powers)))
    return [(mean / np.maximum(power, QUIET * loudest)).astype(np.float32) for power in powers]


def squared(made: Sequence[FloatArray], wanted: Sequence[FloatArray]) -> Error:
    """The squared error of rounding what the quantized network made, against what the float network has.

    Each sample counts by its error beside its own power, so that a few loud ones do not widen the range for all. An
    error that is the same everywhere in a channel does not count: the biases of later layers take it up.

    made, wanted: batches (n, channels, positions).
    """
    weights = alike(wanted)
    count = sum(float(weight.sum()) * batch.shape[2] for weight, batch in zip(weights, wanted, strict=True))

    def error(chosen: Format) -> float:
        total, means = 0.0, np.zeros(wanted[0].shape[1])
        for ours, theirs, weight in zip(made, wanted, weights, strict=True):
            off = on_grid(to_integers(ours, chosen), chosen) - theirs
            total += float(weight @ np.einsum("ncp,ncp->n", off, off))
            means += weight @ off.sum(axis=2)
        return float(total - means @ means / count)

    return error


def residual(graph: Graph, readers: Sequence[Node], x: Sequence[FloatArray]) -> Error:
    """How much of its readers' outputs no weights could restore from the rounded value: a part of their variance.

    It is what matters of a value whose channels, or pixels, differ in size, such as an input of the graph: the
    finest of them may carry the most. Each trial is a ridge regression from the rounded inputs to the outputs.
    """
    tasks = []
    for node in readers:
        session = fragment(graph, [node], [node.output], threads=1)
        outputs = [session.run({node.operand(0).name: batch})[node.output.name] for batch in x]
        tasks.append((node, outputs, alike(outputs)))

    def error(chosen: Format) -> float:
        lost = 0.0
        for node, wanted, weights in tasks:
            moments = StreamingMoments()
            for batch, outputs, weight in zip(x, wanted, weights, strict=True):
                rows = patches(node, on_grid(to_integers(batch, chosen), chosen))
                moments.add(rows, outputs_by_group(node, outputs), np.repeat(weight, rows.shape[1] // len(weight)))
            seen = moments.result()
            unit = float(np.mean(np.diagonal(seen.gram, axis1=1, axis2=2))) or 1.0
            system = seen.gram + RIDGE * unit * np.eye(seen.gram.shape[-1])
            fitted = np.linalg.solve(system, seen.cross.transpose(0, 2, 1)).transpose(0, 2, 1)
            variance = float(seen.variance.sum()) or 1.0
            lost += 1 + float(seen.excess(np.asarray(fitted, np.float64)).sum()) / variance
        return lost

    return error
