"""What would help a layer: each change is tried in that layer alone, and its gain at the outputs measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bitsmith.execution.fragment import fragment
from bitsmith.execution.network import FloatArray, Layer, Network, array_of
from bitsmith.explain.layers import Rounding, made, rounded
from bitsmith.ir.formats import Format, IntegerType, affine, symmetric
from bitsmith.ir.linear import output_axis
from bitsmith.target import Target

WORTH = 1.0
"""Decibels at the outputs below which a change is no advice."""

NARROWER = (0.5, 0.7, 0.85)
"""Parts of an output's range that are tried in its place."""


@dataclass(frozen=True)
class Advice:
    """change: what to do. gain: dB by which it raises the outputs' ratio, this layer alone being rounded."""

    change: str
    gain: float

    def to_json(self) -> dict[str, Any]:
        """Both, the gain to a hundredth of a dB."""
        return {"change": self.change, "gain_db": round(self.gain, 2)}


def advise(
    network: Network, layer: Layer, rounding: Rounding, target: Target, *, formats_only: bool = False
) -> list[Advice]:
    """The changes that gain at least `WORTH`, best first, from a float layer rounded to nearest.

    formats_only: whether to leave out what a pass has seen to already: ranges and biases.
    """
    now = network.output_db(layer, made(network, network.graph, layer, rounding))
    if not np.isfinite(now):
        return []

    def tried(change: str, other: Rounding) -> tuple[str, float]:
        return change, network.output_db(layer, made(network, network.graph, layer, other))

    found = [
        tried(*one) for one in [*_weights(layer, rounding, target), *_output_bits(network, layer, rounding, target)]
    ]
    if not formats_only:
        ranges = [tried(*one) for one in _ranges(network, layer, rounding)]
        found += [max(ranges, key=lambda one: one[1])] if ranges else []
        found += _bias(network, layer, rounding)
    # A change that leaves no noise at all gains as much as float32 can tell apart.
    gains = [Advice(change, min(ratio, MOST) - now) for change, ratio in found]
    return sorted((one for one in gains if one.gain >= WORTH), key=lambda one: -one.gain)


MOST = 140.0
"""dB between a signal and the rounding of float32."""


def _weights(layer: Layer, rounding: Rounding, target: Target) -> Iterator[tuple[str, Rounding]]:
    """Other formats for the weights: scales per channel, the next more bits."""
    chosen, weight = rounding.weight, layer.weight
    if chosen is None or weight is None:
        return
    array, axis = array_of(weight), output_axis(layer.nodes[0])
    if not chosen.is_per_channel and array.shape[axis] > 1 and chosen.grid is None:
        change = "weight channels of equal range (equalize)"
        if "channel" in target.granularities:
            change = "per-channel weight scales (--granularity channel)"
        yield change, replace(rounding, weight=_spanning(array, axis, chosen.type.bits))
    # Two bits over the whole range are ternary, and lose more than ternary weights whose scale was fitted.
    bits = next((bits for bits in sorted(target.weight_bits) if bits > math.ceil(chosen.bits)), None)
    if bits is not None:
        yield (
            f"{bits}-bit weights",
            replace(rounding, weight=_spanning(array, axis if chosen.is_per_channel else None, bits)),
        )


def _spanning(array: FloatArray, axis: int | None, bits: int) -> Format:
    """The symmetric format over all of a weight, its scales per channel of an axis or one for all."""
    kind = IntegerType(bits)
    others = tuple(one for one in range(array.ndim) if one != axis)
    magnitudes = np.atleast_1d(np.abs(array).max(axis=others if axis is not None else None)).astype(np.float64)
    smallest = max(float(magnitudes.max()) * 2.0**-16, float(np.finfo(np.float32).tiny) * 2.0**24)
    return Format(kind, tuple(np.maximum(magnitudes, smallest) / kind.highest), axis=axis)


def _output_bits(network: Network, layer: Layer, rounding: Rounding, target: Target) -> Iterator[tuple[str, Rounding]]:
    """More bits for what the layer makes."""
    chosen = rounding.output
    role = "input" if not layer.nodes else "logits" if layer.output.name in network.outputs else "activations"
    # The ends of a network are few elements: there the widest common format costs next to nothing.
    least = 0 if chosen is None else chosen.bits + 1 if role == "activations" else max(chosen.bits + 1, 8)
    bits = next((bits for bits in sorted(target.activation_bits) if bits >= least), None)
    if chosen is None or bits is None:
        return
    lowest, highest = _ends(chosen)
    kind = IntegerType(bits, chosen.type.signed)
    wider = symmetric(highest, kind) if chosen.zero_point == 0 else affine(lowest, highest, kind)
    yield f"{bits}-bit {role}", replace(rounding, output=wider)


def _ends(chosen: Format) -> tuple[float, float]:
    """The least and the greatest real of a format for activations."""
    scale, zero = chosen.scale[0], chosen.zero_point
    return (chosen.type.lowest - zero) * scale, (chosen.type.highest - zero) * scale


def _ranges(network: Network, layer: Layer, rounding: Rounding) -> Iterator[tuple[str, Rounding]]:
    """Other ranges for what the layer makes: narrower ones, and the one that holds all that the samples give."""
    chosen = rounding.output
    if chosen is None:
        return
    for part in NARROWER:
        narrower = replace(chosen, scale=(chosen.scale[0] * part,))
        change = f"{part:g} times the range of its output (--observer mse or percentile)"
        yield change, replace(rounding, output=narrower)
    real, (lowest, highest) = network.of(layer), _ends(chosen)
    clipped = float(np.mean((real < lowest - chosen.scale[0] / 2) | (real > highest + chosen.scale[0] / 2)))
    if clipped > 0:
        low, high = min(lowest, float(real.min())), max(highest, float(real.max()))
        whole = symmetric(max(-low, high), chosen.type) if chosen.zero_point == 0 else affine(low, high, chosen.type)
        change = f"a range that holds the {100 * clipped:.2g} % of its output now clipped (more calibration data)"
        yield change, replace(rounding, output=whole)


def _bias(network: Network, layer: Layer, rounding: Rounding) -> Iterator[tuple[str, float]]:
    """The bias less the mean error that rounding the weights leaves per channel (Nagel et al. 2019, section 4.2)."""
    weight, bias, graph = layer.weight, layer.bias, network.graph
    if weight is None or bias is None or rounding.weight is None or layer.op == "MatMul":
        return
    leader = layer.nodes[:1]
    fed = {name: network.activations[name] for name in layer.reads}
    coarse = {weight.name: rounded(array_of(weight), rounding.weight)}
    wanted, found = (
        fragment(graph, leader, [leader[0].output], replaced=constants).run(fed)[leader[0].output.name]
        for constants in ({}, coarse)
    )
    error = (found.astype(np.float64) - wanted).mean(axis=tuple(one for one in range(found.ndim) if one != 1))
    corrected = {bias.name: (array_of(bias) - error.reshape(array_of(bias).shape)).astype(np.float32)}
    result = network.run(graph, layer, {**coarse, **corrected})
    if rounding.output is not None:
        result = rounded(result, rounding.output)
    yield "a corrected bias (--correct-biases)", network.output_db(layer, result)
