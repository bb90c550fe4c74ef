"""What hangs between passes and measures each layer, whenever a pass has changed weights, biases or formats."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.execution.network import FloatArray, Layer, Network, array_of, layers_of, macs_of
from bitsmith.explain.accumulated import accumulated
from bitsmith.explain.advice import advise
from bitsmith.explain.layers import LayerReport, Rounding, felt, figure_to_json, report, reports_to_json
from bitsmith.ir.formats import Plan
from bitsmith.ir.graph import Graph
from bitsmith.ir.legal import illegal_nodes
from bitsmith.ir.linear import output_axis
from bitsmith.ir.sharing import MOVES
from bitsmith.manager import Step
from bitsmith.module import Module

WORST = 3
"""Layers for which help is sought."""

SAMPLES = 16
FELT = 192
"""Layers of which a look measures what the outputs feel: each costs a run of all that follow, so that all of them would
take the square of a network's length. Of more, it is those with the lowest ratios of their own."""

WORK = 4_000_000_000
"""Multiply-accumulates of one look at all layers: what large models leave of the samples, but one at least."""


@dataclass(frozen=True)
class Look:
    """The figures of every layer, by name, after a pass."""

    after: str
    reports: dict[str, LayerReport]


@dataclass(frozen=True)
class State:
    """All of a layer that its figures depend on. Arrays are never written in place: the same one holds the same."""

    ops: tuple[str, ...]
    weight: npt.NDArray[Any] | None
    bias: npt.NDArray[Any] | None
    rounding: Rounding

    @classmethod
    def of(cls, layer: Layer, module: Module) -> State:
        """The state of a layer now."""
        weight, bias = layer.weight, layer.bias
        return cls(
            tuple(node.op for node in layer.nodes),
            None if weight is None else weight.constant,
            None if bias is None else bias.constant,
            Rounding.of(layer, module.plan),
        )

    def is_same(self, other: State | None) -> bool:
        """Whether a layer in the one state is measured as in the other."""
        return other is not None and self.has_graph_of(other) and self.rounding == other.rounding

    def has_graph_of(self, other: State) -> bool:
        """Whether both compute the same in float."""
        return self.ops == other.ops and self.weight is other.weight and self.bias is other.bias


@dataclass
class Explainer:
    """A callback that looks at every layer after each pass that changed weights, biases or formats.

    The reference is the float graph before the first pass that does not preserve it: what passes such as equalize
    rewrite is as good a float model as the one that came, and reconstruct's rounding is held to what stood before.
    A preserving pass behind those, if it rewrites weights, makes weights that compare with nothing before it: the
    reference then starts anew from what it left, and noise so far no longer counts.

    A layer alone with its input in float is not how it stands in the network: a pass that lets each layer make up
    for the errors of those before it lowers the figures here, while it raises those of the integer graph
    (explain/accumulated.py). So the worst layers are those of the last look before such a pass, at formats and
    weights rounded to nearest: there no layer is charged with the errors of another.
    """

    looks: list[Look] = field(default_factory=list)
    network: Network | None = None
    reference_after: str = ""
    _reference: Graph | None = None
    _to_nearest: tuple[Look, Plan] | None = None
    _compensated: bool = False
    _states: dict[str, State] = field(default_factory=dict)

    def __call__(self, step: Step) -> None:
        """Look, if a pass has changed what there is to see."""
        module, name = step.module, "import" if step.done is None else str(step.done)
        if illegal_nodes(module.graph):
            return
        layers = rounding_layers(module.graph)
        states = {layer.name: State.of(layer, module) for layer in layers}
        changed = {one for one, state in states.items() if not state.is_same(self._states.get(one))}
        if self._reference is None or ((step.done is None or step.done.preserves) and self._differs(states)):
            self._reference, self.network, self.reference_after = module.graph.copy(), None, name
            self._compensated = False
            changed = set(states)
        elif step.done is not None and not step.done.preserves:
            self._compensated = True
        self._states = states
        if changed and any(state.rounding != Rounding(None, None) for state in states.values()):
            self._look(module, layers, changed, name)

    def finish(self, module: Module) -> dict[str, Any] | None:
        """All figures, pass by pass, those of the integer graph, and the worst layers; None where nothing was seen.

        What only looking needed is forgotten, so that its memory is free for what follows.

        module: at the end of the pipeline.
        """
        if self.network is None:
            return None
        errors = {} if module.integer is None else accumulated(self.network, module.integer)
        found = {
            "samples": self.network.samples,
            "reference_after": self.reference_after,
            "passes": [{"pass": look.after, "layers": reports_to_json(look.reports)} for look in self.looks],
            "ranked_after": None if self._to_nearest is None else self._to_nearest[0].after,
            "accumulated_db": {name: figure_to_json(ratio) for name, ratio in errors.items()},
            "worst": self.worst(module),
        }
        self.network = self._reference = self._to_nearest = None
        return found

    def weights(self) -> dict[str, FloatArray]:
        """By layer, its weights in the float reference: (channels, inputs). Asked before `finish`."""
        if self.network is None:
            return {}
        return {
            layer.name: _by_channel(array_of(weight), output_axis(layer.nodes[0]))
            for layer in self.network.layers
            if (weight := layer.weight) is not None
        }

    def worst(self, module: Module) -> list[dict[str, Any]]:
        """The layers that lower the outputs' ratio most when they alone are rounded, worst first, with what helps."""
        if self.network is None or self._to_nearest is None:
            return []
        look, plan = self._to_nearest
        costs = {name: one.output for name, one in look.reports.items() if one.output is not None}
        found = []
        for name in sorted((name for name in costs if math.isfinite(costs[name])), key=costs.__getitem__)[:WORST]:
            layer = self.network.layer(name)
            if layer is not None:
                rounding = Rounding.of(layer, plan)
                helps = advise(self.network, layer, rounding, module.target, formats_only=self._compensated)
                figures = look.reports[name].to_json()
                found.append({"layer": name, "op": layer.op, **figures, "helps": [one.to_json() for one in helps]})
        return found

    def _differs(self, states: dict[str, State]) -> bool:
        """Whether the graph is another than at the last step; formats are not part of it."""
        if states.keys() != self._states.keys():
            return True
        return any(not state.has_graph_of(self._states[name]) for name, state in states.items())

    def _look(self, module: Module, layers: list[Layer], changed: set[str], name: str) -> None:
        if self.network is None:
            if module.calibration is None or self._reference is None:
                return
            each = max(1, macs_of(layers) * min(len(layers), FELT) // 2)
            count = int(np.clip(WORK // each, 1, SAMPLES))
            self.network = Network(self._reference, next(module.calibration.take(count).batches(count)))
        known = self.looks[-1].reports if self.looks else {}
        network, graph, plan = self.network, module.graph, module.plan
        anew = [layer for layer in layers if layer.name in changed or layer.name not in known]
        found = {layer.name: report(network, graph, layer, Rounding.of(layer, plan)) for layer in anew}
        costly = sorted(anew, key=lambda layer: found[layer.name].own)[:FELT]
        chosen = {layer.name for layer in costly}
        for index, layer in enumerate(layer for layer in anew if layer.name in chosen):
            module.progress("explain", index, len(chosen))
            output = felt(network, graph, layer, Rounding.of(layer, plan))
            found[layer.name] = replace(found[layer.name], output=output)
        module.progress("explain", len(chosen), len(chosen))
        reports = {layer.name: found.get(layer.name) or known[layer.name] for layer in layers}
        self.network.rest()
        self.looks.append(Look(name, reports))
        if not self._compensated:
            self._to_nearest = self.looks[-1], module.plan


def rounding_layers(graph: Graph) -> list[Layer]:
    """The layers that round something: not those that only move elements, whose format is that of their inputs."""
    return [layer for layer in layers_of(graph) if layer.op not in MOVES]


def _by_channel(weight: FloatArray, axis: int) -> FloatArray:
    """Weights as (channels, inputs)."""
    return np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
