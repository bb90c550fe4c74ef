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

FRACTIONS = np.linspace(0.15, 1.0, 18)
"""Of the extremes that were seen, where the ends of a range are looked for."""

COARSE = np.linspace(0.1, 1.0, 10)
"""The same where each trial costs a regression."""

RIDGE = 1e-3
"""Of H's mean diagonal, added to it in a trial regression."""

Error = Callable[[Format], float]


def least(error: Error, seen: Sequence[FloatArray], old: Format, fractions: np.ndarray) -> Format:
    """The format of `old`'s kind that errs least, among those whose range ends at fractions of the extremes seen.

    Where values lie on both sides of 0, the ends are moved together first, then one at a time.
    """
    lowest = min(min(float(array.min()) for array in seen), 0.0)
    highest = max(max(float(array.max()) for array in seen), 0.0)

    def make(ends: tuple[float, float]) -> Format:
        low, high = ends[0] * lowest, ends[1] * highest
        return _like(old, low, high)

    def best(candidates: Sequence[tuple[float, float]]) -> tuple[float, float]:
        return min(candidates, key=lambda ends: error(make(ends)))

    together = [(float(fraction), float(fraction)) for fraction in fractions]
    chosen = best(together)
    if lowest < 0 < highest and old.zero_point != 0:
        for _ in range(2):
            chosen = best([(low, chosen[1]) for low, _ in together])
            chosen = best([(chosen[0], high) for _, high in together])
    return make(chosen)


def _like(old: Format, lowest: float, highest: float) -> Format:
    """A format of the same type over another range, with zero point 0 if the old one's is."""
    return affine(lowest, highest, old.type) if old.zero_point else symmetric(max(-lowest, highest), old.type)


def squared(made: Sequence[FloatArray], wanted: Sequence[FloatArray]) -> Error:
    """The squared error of rounding what the quantized network made, against what the float network has.

    An error that is the same everywhere in a channel does not count: the biases of later layers take it up.
    """

    def error(chosen: Format) -> float:
        total, count, means = 0.0, 0, np.zeros(())
        for ours, theirs in zip(made, wanted, strict=True):
            off = on_grid(to_integers(ours, chosen), chosen) - theirs
            channels = off.reshape(len(off), off.shape[1], -1)
            total += float(np.vdot(off, off))
            means = means + channels.sum(axis=(0, 2), dtype=np.float64)
            count += len(off) * channels.shape[2]
        return total - float(means @ means) / count

    return error


def residual(graph: Graph, readers: Sequence[Node], x: Sequence[FloatArray]) -> Error:
    """How much of its readers' outputs no weights could restore from the rounded value: a part of their variance.

    It is what matters of a value whose channels, or pixels, differ in size, such as an input of the graph: the
    finest of them may carry the most. Each trial is a ridge regression from the rounded inputs to the outputs.
    """
    tasks = []
    for node in readers:
        session = fragment(graph, [node], [node.output], threads=1)
        tasks.append((node, [session.run({node.operand(0).name: batch})[node.output.name] for batch in x]))

    def error(chosen: Format) -> float:
        lost = 0.0
        for node, wanted in tasks:
            moments = StreamingMoments()
            for batch, outputs in zip(x, wanted, strict=True):
                moments.add(patches(node, on_grid(to_integers(batch, chosen), chosen)), outputs_by_group(node, outputs))
            seen = moments.result()
            unit = float(np.mean(np.diagonal(seen.gram, axis1=1, axis2=2))) or 1.0
            system = seen.gram + RIDGE * unit * np.eye(seen.gram.shape[-1])
            fitted = np.linalg.solve(system, seen.cross.transpose(0, 2, 1)).transpose(0, 2, 1)
            variance = float(seen.variance.sum()) or 1.0
            lost += 1 + float(seen.excess(np.asarray(fitted, np.float64)).sum()) / variance
        return lost

    return error
