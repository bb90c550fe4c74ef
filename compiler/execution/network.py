"""The float network run layer by layer, so that a change in one is felt at the outputs without running the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError
from bitsmith.execution.fragment import fragment
from bitsmith.execution.runtime import Session
from bitsmith.ir.fusion import before_host, group_output, is_left_to_host, riders
from bitsmith.ir.graph import Graph, Node, Value
from bitsmith.ir.linear import LINEAR, bias_value, output_axis, weight_value
from bitsmith.metrics import decibels

FloatArray = npt.NDArray[np.float32]

LIGHT = 1 << 26
"""Multiply-accumulates of a run, below which it is over before a second thread is awake."""

BLOCK = 1 << 20
"""Elements that are compared in float64 at a time."""


@dataclass(frozen=True)
class Layer:
    """What becomes one integer operation: a node, with the bias and the clamps that ride in its requantize step.

    An input of the graph, which is rounded as well, is a layer without nodes.
    nodes:  in execution order. output: what they make.
    """

    name: str
    op: str
    nodes: tuple[Node, ...]
    output: Value

    @property
    def weight(self) -> Value | None:
        """The constant weight, if it has one."""
        if self.op not in LINEAR:
            return None
        found = weight_value(self.nodes[0])
        return None if found.constant is None else found

    @property
    def bias(self) -> Value | None:
        """The constant bias, if it has one."""
        return bias_value(self.nodes[0]) if self.op in LINEAR else None

    @cached_property
    def reads(self) -> list[str]:
        """The activations that it is fed, each once."""
        made = {value for node in self.nodes for value in node.outputs}
        read = [value for node in self.nodes for value in node.inputs if value is not None]
        return list(dict.fromkeys(value.name for value in read if value.constant is None and value not in made))


def layers_of(graph: Graph) -> list[Layer]:
    """The inputs, then every layer in execution order; a Softmax on an output, which the host computes, is none."""
    riding = riders(graph)
    found = [Layer(value.name, "Input", (), value) for value in graph.inputs]
    for leader in graph.nodes():
        if leader in riding or is_left_to_host(leader):
            continue
        nodes, output = [leader], group_output(leader)
        while nodes[-1].output != output:
            nodes.append(nodes[-1].output.consumers[0])
        found.append(Layer(leader.name, leader.op, tuple(nodes), output))
    return found


def logits(graph: Graph) -> list[str]:
    """The outputs by name, in order; what a Softmax that is left to the host reads stands for what it makes."""
    return [before_host(value).name for value in graph.outputs]


def macs_of(layers: list[Layer]) -> int:
    """Multiply-accumulates with weights of one sample."""
    total = 0
    for layer in layers:
        weight = layer.weight
        if weight is not None:
            array = array_of(weight)
            total += math.prod(layer.output.sample_shape) * (array.size // array.shape[output_axis(layer.nodes[0])])
    return total


class Network:
    """A float graph in normal form on a few samples, with every activation kept.

    Layers are sessions of their own: one that changes costs its own run and those of the layers behind it.
    samples: by input, float32 (n, ...).
    """

    def __init__(self, graph: Graph, samples: Mapping[str, FloatArray]) -> None:
        self.graph = graph
        self.samples = len(next(iter(samples.values())))
        self.layers = layers_of(graph)
        self._sessions: dict[str, Session] = {}
        self.activations: dict[str, FloatArray] = dict(samples)
        for layer in self.layers:
            if layer.nodes:
                self.activations[layer.output.name] = self._run(self._session(layer), layer, {})
        self.outputs = logits(graph)

    def layer(self, name: str) -> Layer | None:
        """The float layer of a name."""
        return next((layer for layer in self.layers if layer.name == name), None)

    def of(self, layer: Layer) -> FloatArray:
        """What a layer makes in float."""
        return self.activations[layer.output.name]

    def run(self, graph: Graph, layer: Layer, replaced: Mapping[str, FloatArray]) -> FloatArray:
        """What a layer of this or another graph makes of the float inputs, with other constants in it, by name."""
        if not layer.nodes:
            return self.activations[layer.output.name]
        return self._run(fragment(graph, layer.nodes, [layer.output], replaced=replaced), layer, {})

    def tail(self, changed: Sequence[str], replaced: Mapping[str, npt.NDArray[Any]] = MappingProxyType({})) -> Tail:
        """What computes the outputs where some activations are others than in float, made ready to run many times.

        changed:  names of those activations. replaced: by name of a constant, the array that stands there instead.
        """
        moving, nodes = set(changed), list[Node]()
        for layer in self.layers:
            held = {value.name for node in layer.nodes for value in node.inputs if value is not None}
            if layer.output.name not in changed and not held.isdisjoint(moving | replaced.keys()):
                nodes.extend(layer.nodes)
                moving.add(layer.output.name)
        made = {value.name: value for node in nodes for value in node.outputs}
        wanted = [made[name] for name in self.outputs if name in made]
        session = fragment(self.graph, nodes, wanted, replaced=replaced) if wanted else None
        fed = {value.name for node in nodes for value in node.inputs if value is not None and value.constant is None}
        return Tail(self, session, tuple(sorted(fed - made.keys())))

    def output_db(self, layer: Layer, made: FloatArray) -> float:
        """The signal-to-noise ratio, in dB, of the outputs where `layer` makes this and all others are as in float.

        Where there are several outputs, their noises, each as a part of its signal, are averaged.
        """
        changed = {layer.output.name: made}
        names = [other.name for other in self.layers]
        for other in self.layers[names.index(layer.name) + 1 :]:
            if any(name in changed for name in other.reads):
                changed[other.output.name] = self._run(self._session(other), other, changed)
        noises = []
        for name in self.outputs:
            signal, noise = powers(self.activations[name], changed.get(name, self.activations[name]))
            noises.append(noise / signal if signal > 0 else math.inf if noise > 0 else 0.0)
        return decibels(1.0, sum(noises) / len(noises))

    def rest(self) -> None:
        """Give back the memory of the sessions, which are quickly made again."""
        self._sessions.clear()

    def _session(self, layer: Layer) -> Session:
        if layer.name not in self._sessions:
            threads = 1 if macs_of([layer]) * self.samples < LIGHT else 0
            self._sessions[layer.name] = fragment(self.graph, layer.nodes, [layer.output], threads=threads)
        return self._sessions[layer.name]

    def _run(self, session: Session, layer: Layer, changed: Mapping[str, FloatArray]) -> FloatArray:
        fed = {name: changed[name] if name in changed else self.activations[name] for name in layer.reads}
        made: FloatArray = session.run(fed)[layer.output.name]
        return made


@dataclass(frozen=True, eq=False)
class Tail:
    """The part of a network that feels a change of some activations, as one session.

    session: None where no output is computed from them. reads: the activations that it is fed.
    """

    network: Network
    session: Session | None
    reads: tuple[str, ...]

    def outputs(self, changed: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Every output of the network, by name, where these activations are as given and all others as in float."""
        known = {**self.network.activations, **changed}
        made = {} if self.session is None else self.session.run({name: known[name] for name in self.reads})
        return {name: made[name] if name in made else known[name] for name in self.network.outputs}


def array_of(constant: Value) -> FloatArray:
    """The array of a value that must be constant."""
    if constant.constant is None:
        raise InternalError("a value that is not constant", where=constant.name)
    array: FloatArray = constant.constant
    return array


def powers(wanted: npt.ArrayLike, found: npt.ArrayLike) -> tuple[float, float]:
    """Two sums of squares: of what is wanted, and of how far what was found is from it."""
    reference, other = np.ravel(np.asarray(wanted)), np.ravel(np.asarray(found))
    signal = noise = 0.0
    for start in range(0, reference.size, BLOCK):
        exact = reference[start : start + BLOCK].astype(np.float64)
        signal += float(np.square(exact).sum())
        noise += float(np.square(exact - other[start : start + BLOCK]).sum())
    return signal, noise


def ratio_db(wanted: npt.ArrayLike, found: npt.ArrayLike) -> float:
    """The signal-to-noise ratio of `found`, in dB; infinite where nothing differs."""
    return decibels(*powers(wanted, found))
