"""One figure for a whole compile, held to the divergence of what the integer graph gives, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import rel_entr, softmax

from bitsmith.dataset import Dataset
from bitsmith.execution.divergence import temperature
from bitsmith.execution.drift import Drift, surely_less
from bitsmith.execution.interpreter import run
from bitsmith.execution.reals import dequantize_outputs, quantize_inputs
from bitsmith.execution.runtime import Session
from bitsmith.importing.load import load_graph
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from tests.compiler.allocation.made_up import BOARD
from tests.sketch import Sketch, normal

X = normal(40, 6, seed=3)


@pytest.mark.parametrize("tail", [False, True])
def test_it_is_the_softened_divergence_of_integers_from_the_float_graph(tail: bool) -> None:
    sketch = Sketch(x=("N", 6))
    scores = sketch.add("Gemm", "x", sketch.hold(9 * normal(5, 6, seed=4), "w"), transB=1)
    graph = load_graph(sketch.model(sketch.add("Softmax", scores, axis=1) if tail else scores))
    module = Module(graph, BOARD, Dataset.from_arrays({"x": X}))
    Pipeline.parse(NORMALISE).run(module)
    drift = Drift(module.graph.copy(), Dataset.from_arrays({"x": X}))
    real = Session(module.graph, [scores]).run({"x": X})[scores]
    found = {}
    for bits in (2, 6):
        trial = Module(module.graph.copy(), BOARD, module.calibration)
        formats = f"quantize-weights{{bits={bits}}},quantize-activations{{observer=min-max}}"
        Pipeline.parse(f"calibrate,{formats},quantize-biases,integerize").run(trial)
        integer = trial.require_integer()
        (made,) = dequantize_outputs(integer, run(integer, quantize_inputs(integer, {"x": X})), host=False).values()
        t = temperature(real)
        by_hand = rel_entr(*(softmax(one.astype(np.float64) / t, axis=1) for one in (real, made))).sum(axis=1)
        found[bits] = drift.of(integer)
        assert found[bits] == pytest.approx(by_hand, rel=1e-3)
    assert found[6].mean() < found[2].mean()


def test_one_drift_is_surely_less_by_three_standard_errors_of_the_difference() -> None:
    other = np.abs(normal(400, seed=5)).tolist()
    difference = normal(400, seed=6)
    difference = (difference - difference.mean()) / difference.std(ddof=1)
    for errors, sure in ((2.9, False), (3.1, True), (-3.1, False)):
        one = other - (difference + errors / np.sqrt(400))
        assert surely_less(one.tolist(), other) == sure
    assert not surely_less(other, other)
    assert not surely_less([0.0], [1.0])
