"""The figures of one layer: how much noise rounding puts into its weights, its output, and the model's outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bitsmith.execution.network import FloatArray, Layer, Network, array_of, ratio_db
from bitsmith.ir.formats import Format, Plan
from bitsmith.ir.graph import Graph


@dataclass(frozen=True)
class LayerReport:
    """Signal-to-noise ratios of one layer in dB; None where nothing is rounded, infinite where that loses nothing.

    weights:    of its weights, as they are and rounded, against those of the float graph.
    activation: of what it makes in float, rounded to the format that its output has.
    output:     of the model's outputs with this layer alone rounded, weights and output, and the others in float;
                None for layers of large models, too, that are rounded more finely than many others.
    """

    weights: float | None
    activation: float | None
    output: float | None

    @property
    def own(self) -> float:
        """The lower of its own two ratios."""
        return min((one for one in (self.weights, self.activation) if one is not None), default=math.inf)

    def to_json(self) -> dict[str, float | str | None]:
        """The figures to a hundredth of a dB, which the order of float sums hardly moves; infinity as `lossless`."""
        figures = {"weights_db": self.weights, "activation_db": self.activation, "output_db": self.output}
        return {name: figure_to_json(figure) for name, figure in figures.items()}


@dataclass(frozen=True)
class Rounding:
    """What is rounded of a layer, and how: the formats of its weight and of its output; None for what stays float."""

    weight: Format | None
    output: Format | None

    @classmethod
    def of(cls, layer: Layer, plan: Plan) -> Rounding:
        """What a plan says of a layer."""
        weight = layer.weight
        return cls(
            None if weight is None else plan.formats.get(weight.name),
            plan.formats.get(layer.output.name),
        )


def report(network: Network, graph: Graph, layer: Layer, rounding: Rounding) -> LayerReport:
    """The figures of a layer of `graph`, whose float reference is `network`, but for what the outputs feel of it."""
    weights = activation = None
    origin = network.layer(layer.name)
    before, now = None if origin is None else origin.weight, layer.weight
    if rounding.weight is not None and before is not None and now is not None:
        weights = ratio_db(array_of(before), rounded(array_of(now), rounding.weight))
    if rounding.output is not None:
        real = network.of(layer)
        activation = ratio_db(real, rounded(real, rounding.output))
    return LayerReport(weights, activation, None)


def felt(network: Network, graph: Graph, layer: Layer, rounding: Rounding) -> float | None:
    """What the outputs feel of a layer of `graph`: `LayerReport.output`. It costs a run of all that follows."""
    if rounding == Rounding(None, None):
        return None
    return network.output_db(layer, made(network, graph, layer, rounding))


def made(network: Network, graph: Graph, layer: Layer, rounding: Rounding) -> FloatArray:
    """What a layer of `graph` makes of its float inputs with its weight and its output rounded."""
    weight, replaced = layer.weight, {}
    if weight is not None and rounding.weight is not None:
        replaced[weight.name] = rounded(array_of(weight), rounding.weight)
    result = network.run(graph, layer, replaced)
    return result if rounding.output is None else rounded(result, rounding.output)


def rounded(real: FloatArray, chosen: Format) -> FloatArray:
    """The reals that the integers nearest to these stand for."""
    return chosen.dequantize(chosen.quantize(real))


def figure_to_json(figure: float | None) -> float | str | None:
    """A ratio in dB as the manifest has it."""
    if figure is None or math.isfinite(figure):
        return None if figure is None else round(figure, 2)
    return LOSSLESS if figure > 0 else NO_SIGNAL


LOSSLESS, NO_SIGNAL = "lossless", "no signal"
"""The infinities, for which JSON has no number."""


def reports_to_json(reports: Mapping[str, LayerReport]) -> dict[str, Any]:
    """Figures by layer."""
    return {name: one.to_json() for name, one in reports.items()}
