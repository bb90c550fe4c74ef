"""The pass: its options, what it needs, and what it leaves on the module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitsmith.dataset import Dataset
from bitsmith.errors import PipelineError
from bitsmith.importing.load import load_graph
from bitsmith.ir.fusion import materialised
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.passes.calibrate import Calibrate
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.sketch import Sketch, normal


def module(samples: int = 6) -> Module:
    sketch = Sketch(x=("N", 3, 6, 6))
    graph = load_graph(sketch.model(sketch.add("Conv", "x", normal(4, 3, 3, 3))))
    return Module(graph, Target("test", "none"), Dataset.from_arrays({"x": normal(samples, 3, 6, 6)}))


def test_it_prints_and_parses() -> None:
    text = "calibrate{batch_size=7,bins=512,grams=true}"
    assert str(Pipeline.parse(text)) == text
    assert Pipeline.parse(text).passes == (Calibrate(7, 512, True),)
    assert str(Calibrate()) == "calibrate"


def test_it_leaves_statistics_and_the_graph_as_it_was() -> None:
    work = module()
    before = work.graph.to_onnx().SerializeToString(deterministic=True)
    changes = Calibrate(bins=64).run(work)
    assert work.graph.to_onnx().SerializeToString(deterministic=True) == before
    statistics = work.require_statistics()
    assert statistics.samples == 6
    assert changes.made == list(statistics.values) == [value.name for value in materialised(work.graph)]
    assert len(statistics.grams) == 0


def test_gram_matrices_are_taken_on_request() -> None:
    work = module()
    Calibrate(grams=True).run(work)
    (conv,) = work.graph.nodes("Conv")
    assert work.require_statistics().grams[conv.output.name].matrix.shape == (1, 27, 27)


def test_without_data_it_says_what_to_give() -> None:
    work = module()
    work.calibration = None
    with pytest.raises(PipelineError, match=r"needs calibration data\. Give --calibration"):
        Calibrate().run(work)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"bins": 15}, "bins=15. Give 16 to 65536"),
        ({"bins": 65537}, "bins=65537. Give 16 to 65536"),
        ({"batch_size": 0}, "batch_size=0. Give at least 1"),
    ],
)
def test_options_out_of_bounds_are_refused(options: dict[str, int], what: str) -> None:
    with pytest.raises(PipelineError, match=what):
        Calibrate(**options).run(module())  # type: ignore[arg-type]


def test_the_same_data_gives_the_same_statistics(model_file: Callable[[str], Path]) -> None:
    found = []
    for _ in range(2):
        graph = load_graph(model_file("dscnn_kws.onnx"))
        inputs = {value.name: value.sample_shape for value in graph.inputs}
        data = Dataset.open(model_file("dscnn_kws.calib.npz"), inputs).take(40)
        work = Module(graph, Target("test", "none"), data)
        Pipeline.parse(f"{NORMALISE},calibrate{{grams=true}}").run(work)
        found.append(work.require_statistics())
    first, second = found
    assert list(first.values) == list(second.values)
    for name, one in first.values.items():
        other = second.values[name]
        assert (one.minimum, one.maximum) == (other.minimum, other.maximum)
        np.testing.assert_array_equal(one.channel_mean, other.channel_mean)
        np.testing.assert_array_equal(one.require_histogram().counts, other.require_histogram().counts)
    assert len(first.grams) == 10
    for name, gram in first.grams.items():
        np.testing.assert_array_equal(gram.matrix, second.grams[name].matrix)
