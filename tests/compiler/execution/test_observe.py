"""Statistics of a run against statistics of all activations at once."""

from __future__ import annotations

import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from bitsmith.dataset import Dataset
from bitsmith.errors import DataError, ModelError
from bitsmith.execution import observe as module
from bitsmith.execution.observe import fitting_batch, observe
from bitsmith.importing.load import load_graph
from bitsmith.ir.fusion import materialised
from bitsmith.ir.graph import Graph
from tests.sketch import Array, Sketch, apply, normal


def residual(size: int = 8) -> Graph:
    """Two convolutions, a residual sum, a pool and a matrix product."""
    sketch = Sketch(x=("N", 3, size, size))
    first = sketch.add("Relu", sketch.add("Conv", "x", normal(4, 3, 3, 3), normal(4), pads=[1, 1, 1, 1]))
    second = sketch.add("Conv", first, normal(4, 1, 3, 3), normal(4), pads=[1, 1, 1, 1], group=4)
    joined = sketch.add("Relu", sketch.add("Add", first, second))
    flat = sketch.add("Flatten", sketch.add("GlobalAveragePool", joined))
    model = sketch.model(sketch.add("Gemm", flat, normal(4, 5), normal(5)))
    graph, _ = apply("lower-reshapes,explicit-padding,canonicalize-gemm", model)
    return graph


def everything(graph: Graph, x: Array) -> dict[str, Array]:
    """Every activation by ONNX's reference implementation."""
    model = graph.to_onnx()
    names = [name for node in model.graph.node for name in node.output]
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    return {"x": x, **dict(zip(names, ReferenceEvaluator(model).run(None, {"x": x}), strict=True))}


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_statistics_are_those_of_all_samples_at_once(batch_size: int) -> None:
    graph, x = residual(), normal(11, 3, 8, 8)
    found = observe(graph, Dataset.from_arrays({"x": x}), batch_size=batch_size, bins=64)
    assert found.samples == 11
    assert list(found.values) == [value.name for value in materialised(graph)]
    assert len(found.grams) == 0
    exact = everything(graph, x)
    for name, statistics in found.values.items():
        value = exact[name].astype(np.float64)
        near = 1e-5 * max(1.0, float(np.abs(value).max()))
        assert statistics.minimum == pytest.approx(value.min(), abs=near)
        assert statistics.maximum == pytest.approx(value.max(), abs=near)
        axes = tuple(axis for axis in range(value.ndim) if axis != 1)
        np.testing.assert_allclose(statistics.channel_mean, value.mean(axis=axes), atol=near)
        histogram = statistics.require_histogram()
        assert histogram.counts.sum() == value.size
        # An element within rounding of an edge may fall to either side of it.
        for index, edge in enumerate(histogram.edges):
            below = int(histogram.counts[:index].sum())
            assert (value < edge - near).sum() <= below <= (value < edge + near).sum()


def test_what_a_fused_group_hides_is_not_observed() -> None:
    graph = residual()
    found = observe(graph, Dataset.from_arrays({"x": normal(2, 3, 8, 8)}), batch_size=2, bins=64)
    for relu in graph.nodes("Relu"):
        assert relu.operand(0).name not in found.values
        assert relu.output.name in found.values


def test_gram_matrices_are_those_of_the_inputs_of_every_linear_layer() -> None:
    graph, x = residual(), normal(7, 3, 8, 8)
    found = observe(graph, Dataset.from_arrays({"x": x}), batch_size=3, bins=64, grams=True)
    first, depthwise, dense = graph.nodes("Conv", "Gemm")
    assert list(found.grams) == [first.output.name, depthwise.output.name, dense.output.name]
    assert [found.grams[node.output.name].matrix.shape for node in (first, depthwise, dense)] == [
        (1, 27, 27),
        (4, 9, 9),
        (1, 4, 4),
    ]
    pooled = everything(graph, x)[dense.operand(0).name].astype(np.float64)
    np.testing.assert_allclose(found.grams[dense.output.name].matrix[0], np.cov(pooled.T, bias=True), atol=1e-5)
    # The outputs' second moments follow from the inputs' and the weights: var(w x + b) = w M w^T.
    weight = first.constant(1)
    assert weight is not None
    rows = weight.reshape(4, 27).astype(np.float64)
    variance = np.diag(rows @ found.grams[first.output.name].matrix[0] @ rows.T)
    outputs = everything(graph, x)[first.output.name].astype(np.float64)
    np.testing.assert_allclose(variance, outputs.var(axis=(0, 2, 3)), rtol=1e-4)


def test_progress_goes_from_nothing_to_every_sample() -> None:
    told: list[tuple[str, int, int]] = []
    observe(
        residual(),
        Dataset.from_arrays({"x": normal(7, 3, 8, 8)}),
        batch_size=3,
        bins=64,
        progress=lambda *args: told.append(args),
    )
    assert told == [("calibrate", done, 7) for done in (0, 3, 6, 7)]


def test_an_activation_that_overflows_is_named_with_the_sample() -> None:
    sketch = Sketch(x=("N", 2))
    big = sketch.add("Mul", "x", np.float32(1e30), outputs=["big"])
    graph = load_graph(sketch.model(sketch.add("Mul", big, np.float32(1e30), outputs=["huge"])))
    x = np.zeros((9, 2), np.float32)
    x[5, 1] = 1
    with pytest.raises(ModelError, match="huge: it becomes NaN or infinite on calibration sample 5"):
        observe(graph, Dataset.from_arrays({"x": x}), batch_size=4, bins=64)


def test_a_sample_that_is_not_finite_is_a_data_error() -> None:
    x = normal(5, 3, 8, 8)
    x[3, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="NaN in sample 3"):
        observe(residual(), Dataset.from_arrays({"x": x}), batch_size=2, bins=64)


def test_a_batch_shrinks_until_its_activations_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    values = materialised(residual())
    sample = 4 * (3 * 64 + 3 * 4 * 64 + 4 + 4 + 5)
    monkeypatch.setattr(module, "TAP_LIMIT", 10 * sample)
    assert fitting_batch(values, 32) == 10
    assert fitting_batch(values, 8) == 8
    monkeypatch.setattr(module, "TAP_LIMIT", sample - 1)
    assert fitting_batch(values, 32) == 1


def test_memory_does_not_grow_with_the_number_of_samples() -> None:
    graph = residual(size=32)
    peaks, sizes = [], []
    # The first run fills caches of the libraries. ONNX Runtime's own memory is left to the benchmark.
    for samples in (64, 64, 1024):
        x = normal(samples, 3, 32, 32)
        data = Dataset.from_arrays({"x": x})
        tracemalloc.start()
        observe(graph, data, batch_size=16, bins=256, grams=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        sizes.append(x.nbytes)
    # The next batch may be read sooner or later; of more samples than that, nothing may stay.
    assert peaks[2] - peaks[1] < 0.05 * (sizes[2] - sizes[1])
