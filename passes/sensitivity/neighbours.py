"""What two neighbouring layers lose together beyond the sum of what each loses alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bitsmith.execution.network import Layer, Network
from bitsmith.ir.sensitivity import Pair
from bitsmith.passes.sensitivity.direct import Rounded
from bitsmith.passes.sensitivity.felt import Felt
from bitsmith.passes.sensitivity.study import Study, Table, WeightPart

SAMPLED = (2, 4)
"""Bits at which both layers of a pair are rounded."""

LARGEST = 2.0
"""Of agreements: that of two errors which are the same."""


def interactions(study: Study, rounded: Rounded, losses: Table) -> dict[Pair, float]:
    """For each weight and the next that feels it, at all pairs of bits.

    With errors d and e of two layers, small ones lose (d + e)^T F (d + e) / 2, so beyond both sums d^T F e: as much as
    their errors agree at the outputs, times the root of both losses. How much they agree is measured where both have
    the same few bits, and held to be the same at all.
    """
    agreements: dict[tuple[str, str], float] = {}
    seen = 0
    for network in study.networks():
        felt = Felt(network, study.divergence)
        pairs = neighbours(network, study.weights)
        for first, second in pairs:
            study.progress("sensitivity of pairs", seen, len(study.data) * len(pairs))
            seen += network.samples
            agreement = study.share(network) * _agreement(felt, first, second, rounded)
            agreements[first.name, second.name] = agreements.get((first.name, second.name), 0.0) + agreement
        del felt, network, pairs
    found: dict[Pair, float] = {}
    for (one, two), agreement in agreements.items():
        for bits, loss in losses[one].items():
            for others, more in losses[two].items():
                found[one, bits, two, others] = agreement * math.sqrt(max(loss, 0) * max(more, 0))
    return found


def _agreement(felt: Felt, first: WeightPart, second: WeightPart, rounded: Rounded) -> float:
    """What both lose beyond their sum, over the root of both losses; 0 where either loses nothing."""
    found = []
    for bits in SAMPLED:
        if bits in first.formats and bits in second.formats:
            made = felt.network.run(felt.network.graph, first.layer, rounded[first.name][bits])
            before, after = {first.layer.output.name: made}, rounded[second.name][bits]
            one, other = felt.activations(before), felt.constants(second.layer, after)
            if one > 0 and other > 0:
                more = felt.activations(before, after) - one - other
                found.append(max(-LARGEST, min(LARGEST, more / math.sqrt(one * other))))
    return sum(found) / len(found) if found else 0.0


def neighbours(network: Network, weights: Sequence[WeightPart]) -> list[tuple[WeightPart, WeightPart]]:
    """Each weight with that of the next layer, in execution order, whose inputs depend on it by no other weight."""
    parts = {part.layer.name: part for part in weights}
    found = []
    for index, layer in enumerate(network.layers):
        if layer.name in parts:
            reached = _next(layer, network.layers[index + 1 :], parts)
            if reached is not None:
                found.append((parts[layer.name], reached))
    return found


def _next(layer: Layer, later: Sequence[Layer], parts: dict[str, WeightPart]) -> WeightPart | None:
    moving = {layer.output.name}
    for other in later:
        if moving.isdisjoint(other.reads):
            continue
        if other.name in parts:
            return parts[other.name]
        moving.add(other.output.name)
    return None
