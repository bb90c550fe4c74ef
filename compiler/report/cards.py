"""What there is to read of single layers: of all, or of those that cost most where there are too many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitsmith.report.histogram import Plot, plot
from bitsmith.report.layers import Layer
from bitsmith.report.texts import mapping

MOST = 160
"""Layers, up to which all are told of one by one."""

EACH = 50
"""Of more layers, how many of those that cost most, and of those that work most."""


@dataclass(frozen=True)
class Card:
    """A layer with its histograms: of its weights, and of what it makes. work: its part of all multiply-accumulates."""

    layer: Layer
    weights: Plot | None
    output: Plot | None
    work: float


def cards(manifest: Mapping[str, Any], layers: Sequence[Layer]) -> list[Card]:
    """The cards, in the order of the graph: of too many, those that cost the outputs most and those that work most."""
    chosen: Sequence[Layer] = layers
    if len(layers) > MOST:
        worst = sorted(layers, key=lambda layer: layer.badness)[:EACH]
        busiest = sorted(layers, key=lambda layer: -layer.macs)[:EACH]
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
