"""Moments: kept, found again after rewrites, and propagated, against what arithmetic on samples gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from bitsmith.execution.runtime import Session
from bitsmith.importing.load import load_graph
from bitsmith.ir.legal import RULES as LEGAL
from bitsmith.ir.moments import ClippedNormal
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.passes.data_free.inputs import noise
from bitsmith.passes.data_free.located import located
from bitsmith.passes.data_free.propagate import RULES, propagate
from bitsmith.passes.estimate_statistics import value_statistics
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.sketch import Sketch, normal

Array = np.ndarray[Any, Any]
SAMPLES = 20_000
RECORDING = NORMALISE.replace("fold-batch-norm", "record-batch-norms,fold-batch-norm", 1)


def normalised(model: onnx.ModelProto, pipeline: str = NORMALISE) -> Module:
    module = Module(load_graph(model), Target("test", "none"))
    Pipeline.parse(pipeline).run(module)
    return module


def channelwise(array: Array) -> Array:
    return np.moveaxis(array, 1, 0).reshape(array.shape[1], -1).astype(np.float64)


MEANS, SPREADS = np.array([0.5, -1.0, 2.0, 0.0]), np.array([1.0, 0.5, 2.0, 3.0])


def cases() -> dict[str, tuple[Sketch, str]]:
    """Graphs of one position, in which channels are independent as the rules assume."""
    made = {}
    for name, operands in {
        "Relu": [],
        "LeakyRelu": [],
        "Sigmoid": [],
        "Tanh": [],
        "HardSwish": [],
        "HardSigmoid": [],
        "Clip": [np.float32(0), np.float32(1.5)],
        "Min": [np.array([0.1, 0.5, 3.0, 9.0], np.float32).reshape(1, 4, 1, 1)],
        "PRelu": [normal(4, 1, 1)],
        "Mul": [normal(1, 4, 1, 1)],
        "Sub": [normal(1, 4, 1, 1)],
    }.items():
        sketch = Sketch(x=("N", 4, 1, 1))
        made[name] = sketch, sketch.add(name, "x", *operands)
    sketch = Sketch(x=("N", 4, 1, 1))
    grouped = sketch.add("Conv", sketch.add("Relu", "x"), normal(6, 2, 1, 1), normal(6), group=2)
    made["Conv"] = sketch, grouped
    sketch = Sketch(x=("N", 4, 1, 1))
    flat = sketch.add("Flatten", sketch.add("Relu", "x"))
    made["Gemm"] = sketch, sketch.add("Gemm", flat, normal(3, 4), normal(3), transB=1)
    for op in ("Add", "Sub", "Mul"):
        sketch = Sketch(x=("N", 4, 1, 1), z=("N", 4, 1, 1))
        made[f"{op} of two"] = sketch, sketch.add(op, sketch.add("Relu", "x"), "z")
    sketch = Sketch(x=("N", 4, 1, 1), z=("N", 4, 1, 1))
    made["Concat"] = sketch, sketch.add("Concat", "z", sketch.add("Relu", "x"), axis=1)
    sketch = Sketch(x=("N", 4, 1, 1))
    places = [sketch.hold(np.array([number], np.int64)) for number in (3, 0, 1, -2)]
    made["Slice"] = sketch, sketch.add("Relu", sketch.add("Slice", "x", *places))
    return made


@pytest.mark.parametrize("case", cases())
def test_propagated_moments_are_those_of_samples(case: str) -> None:
    sketch, output = cases()[case]
    module = normalised(sketch.model(output))
    known = {value.name: ClippedNormal.of(MEANS, SPREADS**2) for value in module.graph.inputs}
    random = np.random.default_rng(0)
    batch = {
        name: random.normal(MEANS, SPREADS, (SAMPLES, 4)).reshape(SAMPLES, 4, 1, 1).astype(np.float32) for name in known
    }
    found = propagate(module.graph, known)[module.graph.outputs[0].name]
    seen = channelwise(Session(module.graph).run(batch)[module.graph.outputs[0].name])
    deviation = seen.std(axis=1)
    np.testing.assert_allclose(found.mean, seen.mean(axis=1), atol=0.04 * deviation.max())
    # Sums of clipped normals are taken to be normals clipped to what can occur, which is not quite what they are.
    np.testing.assert_allclose(np.sqrt(found.variance), deviation, rtol=0.08, atol=0.02 * deviation.max())
    low, high = found.ends(6.0)
    # One scale serves all channels. A product has longer tails than any normal: its range is no promise.
    if case != "Mul of two":
        assert low.min() <= seen.min() + 1e-6
        assert high.max() >= seen.max() - 1e-6


def test_every_legal_op_has_a_rule() -> None:
    assert set(RULES) == set(LEGAL)


def with_statistics_of(x: Array) -> tuple[onnx.ModelProto, list[str]]:
    """Two convolutions with BatchNormalizations whose running statistics are those on x, exactly, and a residual."""
    sketch = Sketch(x=("N", 3, 6, 6))
    value, names, convolutions = "x", [], []
    for index in range(2):
        made = sketch.add(
            "Conv",
            value,
            normal(3, 3, 3, 3, seed=index) * [[[[1.0]]], [[[9.0]]], [[[0.1]]]],
            normal(3, seed=9),
            pads=[1, 1, 1, 1],
        )
        names.append(made)
        session = Session(load_graph(sketch.model(made)))
        (seen,) = session.run({"x": x}).values()
        apart = channelwise(seen)
        convolutions.append(made)
        normed = sketch.add(
            "BatchNormalization",
            made,
            normal(3, seed=2 + index),
            normal(3, seed=5),
            apart.mean(axis=1),
            apart.var(axis=1),
        )
        value = sketch.add("Relu", normed)
    return sketch.model(sketch.add("Conv", value, normal(2, 3, 1, 1), normal(2))), names


def test_values_are_found_again_after_folding_and_equalizing() -> None:
    x = normal(16, 3, 6, 6)
    model, names = with_statistics_of(x)
    for pipeline in (RECORDING, f"{RECORDING},equalize"):
        module = normalised(model, pipeline)
        assert module.batch_norms is not None
        found = located(module.graph, module.batch_norms)
        assert not found.lost
        assert set(found.known) == {"x", *names}
        taps = Session(module.graph, names).run({"x": x})
        for name in names:
            apart = channelwise(taps[name])
            np.testing.assert_allclose(found.known[name].mean, apart.mean(axis=1), rtol=1e-3, atol=1e-3)
            np.testing.assert_allclose(found.known[name].deviation, apart.std(axis=1), rtol=1e-3)


def test_a_value_that_became_another_is_lost() -> None:
    model, names = with_statistics_of(normal(16, 3, 6, 6))
    module = normalised(model, RECORDING)
    assert module.batch_norms is not None
    first = module.graph.nodes("Conv")[0]
    first.operand(1).constant = normal(3, 3, 3, 3, seed=77)
    found = located(module.graph, module.batch_norms)
    assert names[0] in found.lost
    assert "no longer what was normalised" in found.lost[names[0]]


def test_the_first_batch_norm_tells_what_inputs_look_like() -> None:
    """A layer of differences and sums, over inputs of mean 100 and deviation 50 that vary slowly over space."""
    random = np.random.default_rng(3)
    sketch = Sketch(x=("N", 1, 16, 16))
    x = noise((256, 1, 16, 16), _like(100.0, 50.0), random)
    conv = sketch.add("Conv", "x", normal(12, 1, 3, 3), normal(12))
    apart = channelwise(Session(load_graph(sketch.model(conv))).run({"x": x})[conv])
    ones = np.ones(12, np.float32)
    model = sketch.model(sketch.add("BatchNormalization", conv, ones, ones, apart.mean(axis=1), apart.var(axis=1)))
    module = normalised(model, RECORDING)
    assert module.batch_norms is not None
    found = module.batch_norms.inputs["x"]
    assert found.inferred
    assert found.mean == pytest.approx(100.0, rel=0.02)
    assert np.sqrt(found.variance) == pytest.approx(50.0, rel=0.2)


def _like(mean: float, deviation: float) -> Any:
    from bitsmith.ir.moments import InputMoments

    return InputMoments(np.array([mean]), 0.0, deviation**2, 0.0)


def test_statistics_of_a_mixture() -> None:
    value = ClippedNormal.of([0.0, 4.0], [1.0, 0.25]).clipped(0.0, np.inf)
    seen = value_statistics(value, 512, 6.0)
    assert (seen.minimum, seen.maximum) == (0.0, 7.0)
    np.testing.assert_allclose(seen.channel_mean, value.mean)
    histogram = seen.require_histogram()
    assert 0.0 in histogram.edges
    middle = (histogram.edges[1:] + histogram.edges[:-1]) / 2
    counts = histogram.counts / histogram.counts.sum()
    assert (counts * middle).sum() == pytest.approx(value.mean.mean(), abs=histogram.width)
    # A quarter of all elements is what the first channel's Relu made 0.
    assert counts[:1].sum() == pytest.approx(0.25, abs=0.01)
