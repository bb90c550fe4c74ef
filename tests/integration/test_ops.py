"""Every op, float to integer, against ONNX's own reference evaluator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitsmith.dataset import Dataset
from bitsmith.execution.interpreter import run
from bitsmith.importing.load import load_graph
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.integration.onnx_cases import CASES, reference

PIPELINE = f"{NORMALISE},calibrate,quantize-weights,quantize-activations{{observer=min-max}},quantize-biases,integerize"
HALF_A_STEP = 0.5 + 0.02
"""What rounding once may cost, and a fiftieth of a step for multipliers, float32 scales and biases on a grid."""


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_the_integers_are_the_reals_rounded_once(name: str, data: st.DataObject) -> None:
    case = data.draw(CASES[name])
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    samples = {key: generator.normal(size=(8, *shape)).astype(np.float32) for key, shape in case.inputs.items()}
    module = Module(load_graph(case.model), Target("test", "none"), Dataset.from_arrays(samples))
    Pipeline.parse(PIPELINE).run(module)
    graph = module.require_integer()

    integers = {key: graph.values[key].format.quantize(array) for key, array in samples.items()}
    on_grid = {key: graph.values[key].format.dequantize(array) for key, array in integers.items()}
    expected = dict(zip(graph.outputs, reference(case, on_grid), strict=True))
    found = run(graph, integers)
    for output in graph.outputs:
        written = graph.values[output].format
        exact = expected[output].astype(np.float64) / written.scale[0] + written.zero_point
        exact = np.clip(exact, written.type.lowest, written.type.highest)
        assert found[output].shape == exact.shape
        assert np.abs(found[output] - exact).max() <= HALF_A_STEP
