from __future__ import annotations

import numpy as np
import onnx
import pytest
from scipy.special import rel_entr, softmax
from scipy.stats import entropy

from bitsmith.dataset import Dataset
from bitsmith.execution.divergence import Divergence, temperature
from bitsmith.importing.load import load_graph
from bitsmith.ir.graph import Graph
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.sketch import Sketch, normal


def normal_form(model: onnx.ModelProto) -> Graph:
    module = Module(load_graph(model), Target("test", "none"))
    Pipeline.parse(NORMALISE).run(module)
    return module.graph


def test_sure_logits_are_softened_to_half_the_largest_entropy() -> None:
    logits = 50 * normal(64, 7)
    found = temperature(logits)
    assert found > 1
    assert entropy(softmax(logits / found, axis=1), axis=1).mean() == pytest.approx(np.log(7) / 2, rel=1e-6)


def test_unsure_logits_are_left_alone() -> None:
    assert temperature(0.1 * normal(64, 7)) == 1


def test_classes_are_compared_by_their_softened_divergence_with_or_without_a_softmax() -> None:
    x = normal(32, 6, seed=1)
    for tail in (False, True):
        sketch = Sketch(x=("N", 6))
        logits = sketch.add("Gemm", "x", 20 * normal(6, 5), normal(5))
        output = sketch.add("Softmax", logits, axis=1) if tail else logits
        graph = normal_form(sketch.model(output))
        divergence = Divergence.of(graph, Dataset.from_arrays({"x": x}), "softened", 8)
        (name,) = divergence.temperatures
        real = x @ (20 * normal(6, 5)) + normal(5)
        off = real + normal(32, 5, seed=2)
        t = temperature(real)
        expected = rel_entr(softmax(real / t, axis=1), softmax(off / t, axis=1)).sum(axis=1).mean()
        assert divergence({name: real}, {name: off}) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("outputs", [1, 6])
def test_numbers_are_compared_by_squared_error_as_a_part_of_their_variance(outputs: int) -> None:
    """One number, or as many as the input has: an autoencoder."""
    sketch = Sketch(x=("N", 6))
    graph = normal_form(sketch.model(sketch.add("Gemm", "x", normal(6, outputs), normal(outputs))))
    x = normal(32, 6, seed=1)
    divergence = Divergence.of(graph, Dataset.from_arrays({"x": x}), "softened", 8)
    assert not divergence.temperatures
    (name,) = divergence.variances
    real = x @ normal(6, outputs) + normal(outputs)
    expected = 0.5 * 0.01 * outputs / real.var(axis=0).sum()
    assert divergence({name: real}, {name: real + np.float32(0.1)}) == pytest.approx(expected, rel=1e-3)
