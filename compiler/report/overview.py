"""What a reader in a hurry wants: float against compiled, line by line, and whether it was verified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitsmith.allocation.budgets import (
    BOPS,
    FLASH,
    LUTS,
    MEAN_ACTIVATION_BITS,
    MEAN_WEIGHT_BITS,
    MEANING,
    RAM,
    made_of,
    shown,
)
from bitsmith.report.layers import Layer
from bitsmith.report.texts import decibels_text, mapping, of_bytes, score_text, short, thousands

FLOAT_BITS = 32

NAMES = {
    RAM: "RAM",
    LUTS: "look-up tables",
    BOPS: "bit operations",
    MEAN_WEIGHT_BITS: "bits a weight",
    MEAN_ACTIVATION_BITS: "bits an activation",
}
"""Of costs, where the name of the budget is not a word."""


@dataclass(frozen=True)
class Line:
    """A figure before and after. gain: what that means, in words. note: of what exactly it is the figure."""

    what: str
    float: str
    compiled: str
    gain: str = ""
    note: str = ""


@dataclass(frozen=True)
class Tile:
    """A figure to see first, and what it is."""

    figure: str
    text: str


@dataclass(frozen=True)
class Overview:
    """holds: whether everything that must be equal is. differing, compared: outputs, over all forms that must be.

    loose: forms that need not be equal, as the manifest has them. samples: on which forms were compared.
    """

    holds: bool
    differing: int
    compared: int
    forms: tuple[str, ...]
    loose: tuple[Mapping[str, Any], ...]
    samples: int
    tiles: tuple[Tile, ...]
    lines: tuple[Line, ...]
    has_accuracy: bool


def overview(manifest: Mapping[str, Any], layers: Sequence[Layer]) -> Overview:
    """The summary of a manifest."""
    held = [one for one in manifest["verification"] if one["must_be_equal"]]
    scores = list(_scores(manifest))
    return Overview(
        all(not one["differing"] for one in held),
        sum(one["differing"] for one in held),
        sum(one["total"] for one in held),
        tuple(one["subject"] for one in held),
        tuple(one for one in manifest["verification"] if not one["must_be_equal"]),
        max((one["samples"] for one in held), default=0),
        tuple(_tiles(manifest, scores)),
        (*scores, *_lines(manifest, layers)),
        bool(scores),
    )


def _scores(manifest: Mapping[str, Any]) -> Iterator[Line]:
    """Accuracy, where it was measured: the backend's own files beside the float model."""
    found = mapping(manifest, "accuracy")
    if not found:
        return
    real, compiled = found.get("float"), found["compiled"]
    metric = compiled["metric"]
    gain = ""
    if real is not None and metric in ("top1", "auc"):
        gain = f"{100 * (compiled['value'] - real['value']):+.2f} points"
    note = f"{compiled['model']} on {thousands(compiled['samples'])} samples of {found['file']}"
    yield Line(metric, "" if real is None else score_text(real), score_text(compiled), gain, note)


def _lines(manifest: Mapping[str, Any], layers: Sequence[Layer]) -> Iterator[Line]:
    size, costs = manifest["size"], manifest["costs"]
    before, after = size["float_constants"], size["integer_constants"]
    kind = "made-up" if manifest["data_free"] else "calibration"
    for output, value in (mapping(manifest, "distance").get("sqnr_db") or {}).items():
        samples = thousands(manifest["distance"]["samples"])
        note = f"signal to noise of the integers against float at {output}, on {samples} {kind} samples"
        yield Line("distance", "", decibels_text(value), "", note)
    adopted = mapping(manifest, "quantized_by_others")
    if adopted:
        count = f"{thousands(adopted['differing'])} of {thousands(adopted['elements'])} elements differ"
        note = f"each operation beside the {adopted['dialect']} file, on {thousands(adopted['samples'])} samples"
        yield Line(
            "fidelity", "", count, f"by {adopted['largest']} steps at most" if adopted["differing"] else "", note
        )
    note = "bytes of weights, biases, multipliers and tables, packed"
    yield Line("constants", shown(FLASH, before), shown(FLASH, after), _times(before, after, "smaller"), note)
    for name, value in costs.items():
        limit = mapping(manifest, "budgets").get(name)
        gain = "" if limit is None else f"budget {shown(name, limit)}"
        real = ""
        if name == BOPS:
            work = sum(layer.macs for layer in layers if layer.weight_bits)
            real = shown(BOPS, work * FLOAT_BITS**2)
            gain = gain or _times(work * FLOAT_BITS**2, value, "less work")
        note = made_of(costs, mapping(manifest, "target").get("code")) if name == FLASH else MEANING[name]
        yield Line(NAMES.get(name, name), real, shown(name, value), gain, note)
    for name, count in mapping(manifest, "artifact").items():
        yield Line(name, "", thousands(count), "", "of the artifact, as its backend counts")


def _times(before: float, after: float, what: str) -> str:
    return f"{before / after:.1f} times {what}" if after else ""


def _tiles(manifest: Mapping[str, Any], scores: Sequence[Line]) -> Iterator[Tile]:
    size, costs = manifest["size"], manifest["costs"]
    if scores:
        first = scores[0]
        beside = f"; {first.float} in float" if first.float else ""
        figure, _, error = first.compiled.partition(" \N{PLUS-MINUS SIGN}")
        yield Tile(figure, f"{first.what}{error and f', give or take{error}'}{beside}")
    else:
        ratios = mapping(manifest, "distance").get("sqnr_db") or {}
        for output, value in list(ratios.items())[:1]:
            yield Tile(decibels_text(value), f"signal to noise of the integers against float, at {output}")
    before, after = size["float_constants"], size["integer_constants"]
    if after:
        yield Tile(
            f"{before / after:.1f} \N{MULTIPLICATION SIGN}",
            f"smaller: {of_bytes(before)} of constants became {of_bytes(after)}",
        )
    if LUTS in costs:
        yield Tile(f"{round(costs[LUTS]):,}", "look-up tables of the circuit, as the backend estimates them")
    else:
        yield Tile(of_bytes(round(costs[RAM])), "of RAM for activations, at the fullest step")
    yield Tile(short(manifest["macs"]), "multiply-accumulates a sample")
