"""What there is to read of single layers: of all, or of those that cost most where there are too many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitsmith.report.histogram import Plot, plot
from bitsmith.report.layers import Layer
from bitsmith.report.texts import mapping

MOST = 160
"""Layers that are told of one by one."""


@dataclass(frozen=True)
class Card:
    """A layer with its histograms: of its weights, and of what it makes. work: its part of all multiply-accumulates."""

    layer: Layer
    weights: Plot | None
    output: Plot | None
    work: float


def cards(manifest: Mapping[str, Any], layers: Sequence[Layer]) -> list[Card]:
    """The cards, in the order of the graph: half of those that cost the outputs most, half of those that work most."""
    chosen: Sequence[Layer] = layers
    if len(layers) > MOST:
        worst = sorted(layers, key=lambda layer: layer.badness)[: MOST // 2]
        busiest = sorted(layers, key=lambda layer: -layer.macs)[: MOST // 2]
        kept = {layer.index for layer in (*worst, *busiest)}
        chosen = [layer for layer in layers if layer.index in kept]
    spreads = mapping(manifest, "spreads")
    weights, outputs = mapping(spreads, "weights"), mapping(spreads, "activations")
    total = sum(layer.macs for layer in layers) or 1
    return [
        Card(
            layer,
            plot(weights[layer.name]) if layer.name in weights else None,
            plot(outputs[layer.row["output"]]) if layer.row["output"] in outputs else None,
            layer.macs / total,
        )
        for layer in chosen
    ]
