"""The trace by random probes against the exact Fisher information of a softmax regression."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from bitsmith.dataset import Dataset
from bitsmith.execution.divergence import Divergence
from bitsmith.execution.network import Network, array_of
from bitsmith.importing.load import load_graph
from bitsmith.ir.sensitivity import Sensitivity
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.passes.sensitivity.felt import Felt
from bitsmith.passes.sensitivity.trace import fisher_trace
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.sketch import Sketch, normal

SAMPLES, INPUTS, CLASSES = 12, 5, 4
PROBES = 400


def softmax_regression() -> tuple[Module, npt.NDArray[np.float32]]:
    sketch = Sketch(x=("N", INPUTS))
    logits = sketch.add("Gemm", "x", normal(INPUTS, CLASSES), normal(CLASSES, seed=1))
    x = normal(SAMPLES, INPUTS, seed=2)
    module = Module(
        load_graph(sketch.model(logits)), Target("test", "none", weight_bits=(4, 8)), Dataset.from_arrays({"x": x})
    )
    Pipeline.parse(NORMALISE).run(module)
    return module, x


def fisher(x: npt.NDArray[np.float32], network: Network, temperature: float) -> npt.NDArray[np.float64]:
    """mean over samples of (diag p - p p^T) x^T x, the Hessian of the divergence by the weight, (classes, inputs)."""
    (output,) = network.outputs
    logits = network.activations[output].astype(np.float64) / temperature
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    total = np.zeros((CLASSES * INPUTS, CLASSES * INPUTS))
    for sample, chances in zip(x.astype(np.float64), p, strict=True):
        curvature = (np.diag(chances) - np.outer(chances, chances)) / temperature**2
        total += np.kron(curvature, np.outer(sample, sample)) / SAMPLES
    return total


@pytest.mark.parametrize("kind", ["plain", "softened"])
def test_probes_find_the_exact_trace_within_their_own_error(kind: str) -> None:
    module, x = softmax_regression()
    data = module.require_calibration()
    divergence = Divergence.of(module.graph, data, kind, SAMPLES)
    network = Network(module.graph, {"x": x})
    layer = network.layers[-1]
    weight = layer.weight
    assert weight is not None
    array = array_of(weight)
    felt = Felt(network, divergence)
    exact = fisher(x, network, next(iter(divergence.temperatures.values())))

    def moved(change: npt.NDArray[np.float32]) -> float:
        return felt.constants(layer, {weight.name: array + change})

    found = fisher_trace(moved, array, np.random.default_rng(0), PROBES)
    # The variance of z^T F z with random signs is twice the sum of squares off the diagonal (Hutchinson 1990).
    off = exact - np.diag(np.diag(exact))
    error = np.sqrt(2 * np.square(off).sum() / PROBES)
    # Beside it stands what is beyond the parabola, of relative size KL itself.
    assert abs(found - np.trace(exact)) < 4 * error + 0.01 * np.trace(exact)
    assert 4 * error < 0.3 * np.trace(exact)


def test_second_order_is_half_the_mean_curvature_times_the_squared_error() -> None:
    module, x = softmax_regression()
    Pipeline.parse("calibrate,measure-sensitivity{method=second-order,divergence=plain,weights=4+8}").run(module)
    sensitivity = module.sensitivity
    assert isinstance(sensitivity, Sensitivity)
    network = Network(module.graph, {"x": x})
    weight = network.layers[-1].weight
    assert weight is not None
    array = array_of(weight).astype(np.float64)
    scale = np.abs(array).max(axis=1, keepdims=True) / 127
    squares = np.square(array - scale * np.floor(array / scale + 0.5)).sum()
    exact = np.trace(fisher(x, network, 1.0)) / array.size * squares / 2
    assert sensitivity.weights[weight.name][8] == pytest.approx(exact, rel=0.35)
    assert sensitivity.weights[weight.name][4] > 30 * sensitivity.weights[weight.name][8]
