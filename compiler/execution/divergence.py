"""How far outputs move: in nats of Kullback-Leibler divergence a sample, whatever they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.dataset import Dataset
from bitsmith.execution.network import logits
from bitsmith.execution.runtime import Session
from bitsmith.execution.simulate import divergence
from bitsmith.ir.graph import Graph, Value

FloatArray = npt.NDArray[np.float32]
Outputs = Mapping[str, FloatArray]

SOFTENED, PLAIN = "softened", "plain"
KINDS = (SOFTENED, PLAIN)

SURPRISE = 0.5
"""Of the entropy that equally likely classes have: what softened probabilities have in the mean."""

HOTTEST = 1e4
HALVINGS = 40


@dataclass(frozen=True)
class Divergence:
    """The mean over samples, summed over outputs.

    Of classes it is KL(softmax(y / T) || softmax(y' / T)), y being the logits in float. A model that is sure of the
    calibration samples, as it is of those that it was trained on, says nothing by its probabilities: they stay where
    they are until an error is large enough to change the class. So a temperature T above 1 softens them (Hinton et al.
    2015, arXiv:1503.02531, section 2) until their mean entropy is half that of equal chances.

    Of real numbers it is half the squared error as a part of the variance, the divergence of two normal distributions
    of that variance.

    temperatures: by output that holds classes. variances: by output that does not, summed over its elements.
    """

    temperatures: Mapping[str, float]
    variances: Mapping[str, float]

    @classmethod
    def of(cls, graph: Graph, data: Dataset, kind: str, batch_size: int) -> Divergence:
        """For the outputs of a float graph in normal form, with temperatures and variances as they are on `data`."""
        return cls.between(graph, outputs_of(graph, data, batch_size), kind)

    @classmethod
    def between(cls, graph: Graph, real: Outputs, kind: str) -> Divergence:
        """The same, where what the graph makes of the samples is known: by the names of `logits`."""
        of = zip(real, graph.outputs, strict=True)
        classes = {name for name, value in of if _holds_classes(graph, value)}
        return cls(
            {name: temperature(real[name]) if kind == SOFTENED else 1.0 for name in real if name in classes},
            {name: _variance(real[name]) for name in real if name not in classes},
        )

    def __call__(self, real: Outputs, found: Outputs) -> float:
        """How far `found` is from `real`."""
        return float(self.each(real, found).mean())

    def each(self, real: Outputs, found: Outputs) -> npt.NDArray[np.float64]:
        """The same, sample by sample: (n,)."""
        total = np.zeros(len(next(iter(real.values()))))
        for name, t in self.temperatures.items():
            total += divergence(real[name] / np.float32(t), found[name] / np.float32(t))
        for name, variance in self.variances.items():
            squares = np.square(real[name].astype(np.float64) - found[name])
            total += squares.reshape(len(squares), -1).sum(axis=1) / 2 / variance
        return total


def outputs_of(graph: Graph, data: Dataset, batch_size: int) -> dict[str, FloatArray]:
    """What a float graph makes of all samples, by the names of `logits` and in their order."""
    names = logits(graph)
    session = Session(graph, names)
    parts = [session.run(batch) for batch in data.batches(batch_size)]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def temperature(real: npt.ArrayLike) -> float:
    """The lowest temperature, 1 or more, at which probabilities have `SURPRISE` of the largest entropy, in the mean.

    real: logits, (n, classes, ...).
    """
    exact = np.asarray(real, dtype=np.float64)
    wanted = SURPRISE * math.log(exact.shape[1])
    low, high = 0.0, math.log(HOTTEST)
    if _entropy(exact) >= wanted:
        return 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _entropy(exact / math.exp(middle)) < wanted else (low, middle)
    return math.exp(high)


def _entropy(exact: npt.NDArray[np.float64]) -> float:
    """Of softmax(exact) along axis 1, in nats, in the mean."""
    shifted = exact - exact.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    sums = powers.sum(axis=1)
    return float((np.log(sums) - (powers * shifted).sum(axis=1) / sums).mean())


def _holds_classes(graph: Graph, output: Value) -> bool:
    """Whether an output scores classes: it comes of a Softmax, or has several elements and no input's shape."""
    if output.producer is not None and output.producer.op == "Softmax":
        return True
    shape = output.sample_shape
    return math.prod(shape) > 1 and shape[0] > 1 and shape not in [value.sample_shape for value in graph.inputs]


def _variance(real: FloatArray) -> float:
    """Summed over elements; the power where samples do not differ, and 1 where there is none."""
    exact = real.astype(np.float64)
    spread = float(np.square(exact - exact.mean(axis=0)).sum()) / len(exact)
    return spread or float(np.square(exact).sum()) / len(exact) or 1.0
