"""What is measured: a float network on some samples, and the formats that its weights and activations may get."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bitsmith.dataset import Dataset
from bitsmith.execution.divergence import Divergence
from bitsmith.execution.network import Layer, Network, array_of, layers_of
from bitsmith.ir.formats import Format
from bitsmith.ir.graph import Graph, Value
from bitsmith.ir.sharing import MOVES
from bitsmith.progress import Progress, silent

FloatArray = npt.NDArray[np.float32]
Table = dict[str, dict[float, float]]
"""By name and bits: nats, or whatever else is told of a part at a width."""

MEMORY = 80 << 20
"""Bytes of float activations that are held at a time: samples are looked at in as many parts as that takes."""

ROUNDED = 1 << 23
"""Weights that are held rounded at a time, copies for all widths among them, unless one layer has more."""

AT_ONCE = 1 << 20
"""Elements put on a grid at a time, unless one sample has more: that takes a handful of float64 copies of them."""


@dataclass(frozen=True, eq=False)
class WeightPart:
    """A constant weight, in the layer that multiplies by it, and the format that it would have, by bits."""

    layer: Layer
    value: Value
    formats: Mapping[float, Format]

    @property
    def name(self) -> str:
        return self.value.name

    @property
    def array(self) -> FloatArray:
        return array_of(self.value)


@dataclass(frozen=True, eq=False)
class ActivationPart:
    """All values that share one format, named by the first of them, and that format, by bits."""

    values: tuple[Value, ...]
    formats: Mapping[float, Format]

    @property
    def name(self) -> str:
        return self.values[0].name

    @property
    def computed(self) -> list[str]:
        """The activations in it that are rounded when they are computed; where elements only move, they stay so."""
        found = [value for value in self.values if value.constant is None]
        return [value.name for value in found if value.producer is None or value.producer.op not in MOVES]

    @property
    def constants(self) -> dict[str, FloatArray]:
        """Those that are no activations, but are read like them."""
        return {value.name: array_of(value) for value in self.values if value.constant is not None}


@dataclass(frozen=True, eq=False)
class Study:
    """A float graph in normal form, samples of its inputs, and what of it may get how many bits."""

    graph: Graph
    data: Dataset
    weights: Sequence[WeightPart]
    activations: Sequence[ActivationPart]
    divergence: Divergence
    seed: int = 0
    progress: Progress = silent

    def networks(self) -> Iterator[Network]:
        """The network on one part of the samples after another.

        Whoever looks at one must let go of it before asking for the next, or the activations of both are held.
        """
        for batch in self.data.batches(batch_size(self.graph, len(self.data))):
            network = Network(self.graph, batch)
            network.rest()
            yield network
            del network

    def parts(self) -> Iterator[Study]:
        """The same study of some weights after others: as many as may be held rounded to all their widths."""
        some: list[WeightPart] = []
        size = 0
        for part in self.weights:
            copies = part.array.size * len(part.formats)
            if some and size + copies > ROUNDED:
                yield replace(self, weights=some)
                some, size = [], 0
            some.append(part)
            size += copies
        if some:
            yield replace(self, weights=some)

    def share(self, network: Network) -> float:
        """The part of all samples that a network has."""
        return network.samples / len(self.data)


def batch_size(graph: Graph, samples: int) -> int:
    """How many of the samples' activations are held at a time: about as many in each part."""
    elements = sum(math.prod(layer.output.sample_shape) for layer in layers_of(graph))
    parts = math.ceil(samples / max(1, MEMORY // (4 * elements)))
    return math.ceil(samples / parts)


def on_grid(real: FloatArray, chosen: Format) -> FloatArray:
    """The nearest that a format can say."""
    rounded: FloatArray = chosen.dequantize(chosen.quantize(real))
    return rounded


def samples_on_grid(real: FloatArray, chosen: Format) -> FloatArray:
    """The same of an activation, (n, ...), whose format is one for all of it: a few samples at a time."""
    step = max(1, AT_ONCE * len(real) // max(real.size, 1))
    rounded = np.empty_like(real)
    for start in range(0, len(real), step):
        rounded[start : start + step] = on_grid(real[start : start + step], chosen)
    return rounded
