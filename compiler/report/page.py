"""The page of a compiled folder: every picture and figure of its manifest, in one file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bitsmith.report import losses, memory, network
from bitsmith.report.cards import Card, cards
from bitsmith.report.layers import layers_of
from bitsmith.report.overview import overview
from bitsmith.report.templates import fill

TEMPLATE = "page.html.j2"

KNOWN = (
    *("model", "versions", "target", "calibration", "data_free", "quantized_by_others", "seed", "inputs", "outputs"),
    *("left_to_host", "size", "macs", "costs", "budgets", "program", "distance", "verification", "values", "passes"),
)
"""Tables of a manifest that the templates read as they are."""


def render(manifest: Mapping[str, Any]) -> str:
    """The page for a manifest, with or without the hashes of its files."""
    layers = layers_of(manifest)
    details = cards(manifest, layers)
    names = {layer.name for layer in layers}
    given = {name: manifest.get(name) for name in KNOWN}
    return fill(
        TEMPLATE,
        {
            **given,
            "title": Path(manifest["model"]["file"]).stem or manifest["model"]["name"],
            "overview": overview(manifest, layers),
            "network": network.draw(manifest, layers, {card.layer.index for card in details}),
            "layers": layers,
            "cards": details,
            "most_macs": max((layer.macs for layer in layers), default=0),
            "memory": memory.draw(manifest["memory"]) if manifest.get("memory") else None,
            "losses": losses.draw(manifest, layers),
            "worst": _worst(details, manifest),
            "later": _later(manifest.get("explain") or {}),
            "explain": manifest.get("explain"),
            "command": shlex.join(manifest.get("command") or ()),
            "arena": [one for one in manifest.get("choices") or () if one["where"] not in names],
        },
    )


def _worst(details: Sequence[Card], manifest: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
    """The layers that cost the outputs most, and where more is said of them, if it is."""
    links = {card.layer.name: f"layer-{card.layer.index}" for card in details}
    return [(one, links.get(one["layer"], "")) for one in (manifest.get("explain") or {}).get("worst", ())]


def _later(explain: Mapping[str, Any]) -> list[str]:
    """The passes that made up for errors after the worst layers were ranked."""
    names = [one["pass"] for one in explain.get("passes", ())]
    ranked = explain.get("ranked_after")
    last = len(names) - names[::-1].index(ranked) if ranked in names else len(names)
    return [name.split("{")[0] for name in names[last:]]
