"""Random allocations of bits, each compiled as it would ship, and how far its outputs move from the float model's."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.dataset import Dataset
from bitsmith.execution.batches import batch_size
from bitsmith.execution.export import to_onnx
from bitsmith.execution.reals import dequantize_outputs, quantize_inputs
from bitsmith.execution.runtime import Session
from bitsmith.execution.simulate import divergence
from bitsmith.importing.load import load_graph
from bitsmith.ir.allocation import Allocation
from bitsmith.ir.integer import IntegerGraph
from bitsmith.ir.linear import LINEAR, weight_value
from bitsmith.ir.sharing import activation_groups, is_edge
from bitsmith.manager import Pipeline
from bitsmith.manifest import write_whole
from bitsmith.metrics import decibels
from bitsmith.module import Module
from bitsmith.recipe import Recipe
from bitsmith.target import load_target
from tests.benchmarks.common import model_files

WEIGHTS = (2, 3, 4, 5, 6, 8)
ACTIVATIONS = (4, 6, 8)
"""Bits that are drawn; inputs and outputs of the graph keep 8."""

EVEN = 30
"""Of the first so many allocations, bits are drawn equally often. Each of the others leans to few bits or to many, so
that accuracies differ by more than the error of measuring them."""

LEANING = 1.5
"""The largest difference of the logarithms of two neighbouring widths' chances."""


@dataclass(frozen=True)
class Measured:
    """What an allocation's integer graph gives on the evaluation data.

    top1: the part of samples that it classifies as labelled. sqnr: of all logits, in dB.
    nats: the mean Kullback-Leibler divergence from the float model.
    """

    allocation: Allocation
    top1: float
    sqnr: float
    nats: float

    def to_json(self) -> dict[str, Any]:
        return {**self.allocation.to_json(), "top1": self.top1, "sqnr": self.sqnr, "nats": self.nats}

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Measured:
        allocation = Allocation(kept["weights"], kept["activations"])
        return cls(allocation, kept["top1"], kept["sqnr"], kept["nats"])


class Subject:
    """A model, normalised and calibrated once, and compiled under one allocation after another.

    evaluated: how many of the first evaluation samples are looked at.
    """

    def __init__(self, name: str, evaluated: int) -> None:
        model, calibration, evaluation = model_files(name)
        graph = load_graph(model)
        samples = {value.name: value.sample_shape for value in graph.inputs}
        self.module = Module(graph, load_target("onnxruntime"), Dataset.open(calibration, samples))
        # The bits here only ask for learned rounding: the allocation names all weights, and all activations but edges.
        passes = Recipe(weights=4, activations=4).passes(self.module.target).passes
        first = 1 + [one.name for one in passes].index("calibrate")
        Pipeline(passes[:first]).run(self.module)
        self._rest = Pipeline(passes[first:])
        self.pipeline, self.before = str(Pipeline(passes)), str(Pipeline(passes[:first]))
        self.weights = [weight_value(node).name for node in self.module.graph.nodes(*LINEAR)]
        groups = activation_groups(self.module.graph)
        self.activations = [group[0].name for group in groups if not any(is_edge(value) for value in group)]
        data = Dataset.open(evaluation, samples)
        self._data, self._labels = data.take(evaluated), data.labels()[:evaluated]
        self.samples = len(self._data)
        logits = []
        for output in self.module.graph.outputs:
            maker = output.producer
            logits.append(maker.operand(0).name if maker is not None and maker.op == "Softmax" else output.name)
        (self._logits,) = logits
        session = Session(self.module.graph, [self._logits])
        self._wanted = np.concatenate([session.run(batch)[self._logits] for batch in self._data.batches(16)])

    def draw(self, index: int) -> Allocation:
        """Bits for every weight and every activation but the edges, each by itself; the same for the same index."""
        random = np.random.default_rng(index)
        lean = 0.0 if index < EVEN else float(random.uniform(-LEANING, LEANING))
        return Allocation(
            {name: _drawn(random, WEIGHTS, lean) for name in self.weights},
            {name: _drawn(random, ACTIVATIONS, lean) for name in self.activations},
        )

    def measure(self, allocation: Allocation) -> Measured:
        """Compile under an allocation and run the integer graph over the evaluation data."""
        base = self.module
        module = Module(
            base.graph.copy(), base.target, base.calibration, statistics=base.statistics, allocation=allocation
        )
        self._rest.run(module)
        found = self._outputs(module.require_integer())
        right = found.reshape(len(found), -1).argmax(axis=1) == self._labels.ravel()
        exact = self._wanted.astype(np.float64)
        noise = np.square(exact - found.reshape(exact.shape)).sum()
        return Measured(
            allocation,
            float(right.mean()),
            decibels(float(np.square(exact).sum()), float(noise)),
            float(divergence(self._wanted, found.reshape(exact.shape)).mean()),
        )

    def _outputs(self, integer: IntegerGraph) -> npt.NDArray[np.float32]:
        session = Session(to_onnx(integer))
        parts = []
        for batch in self._data.batches(batch_size(integer)):
            (made,) = dequantize_outputs(integer, session.run(quantize_inputs(integer, batch)), host=False).values()
            parts.append(made)
        return np.concatenate(parts)


def _drawn(random: np.random.Generator, widths: tuple[int, ...], lean: float) -> int:
    """One of the widths, whose chances grow by a factor of exp(lean) from each to the next."""
    chances = np.exp(lean * np.arange(len(widths)))
    return int(random.choice(widths, p=chances / chances.sum() if lean else None))


def measured(subject: Subject, count: int, kept: Path) -> list[Measured]:
    """The first `count` random allocations of a model.

    kept: a JSON file of those that were measured, by the same pipeline on as many samples: they are not measured again.
    """
    how = {"pipeline": subject.pipeline, "samples": subject.samples}
    known = json.loads(kept.read_text()) if kept.exists() else {}
    found: dict[str, Any] = known["measured"] if known.get("how") == how else {}
    for index in range(count):
        if str(index) not in found:
            one = subject.measure(subject.draw(index))
            found[str(index)] = one.to_json()
            write_whole(kept, json.dumps({"how": how, "measured": found}, indent=1))
            print(f"{kept.stem} {index}/{count}: {one.top1:.3f} {one.sqnr:.2f} dB", file=sys.stderr, flush=True)
    return [Measured.from_json(found[str(index)]) for index in range(count)]
