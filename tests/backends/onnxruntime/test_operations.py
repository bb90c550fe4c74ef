"""Every float op, compiled and run by ONNX Runtime, against the exact integers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitsmith.backends.onnxruntime import build_model, float_compute_nodes, optimize, serialize
from bitsmith.dataset import Dataset
from bitsmith.execution.batches import vectors
from bitsmith.importing.load import load_graph
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.target import Target
from tests.backends.onnxruntime.agreement import assert_agrees
from tests.integration.onnx_cases import CASES
from tests.integration.test_ops import PIPELINE


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_differs_by_one_step_at_most_and_only_on_ties(name: str, data: st.DataObject) -> None:
    case = data.draw(CASES[name])
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    samples = {key: generator.normal(size=(8, *shape)).astype(np.float32) for key, shape in case.inputs.items()}
    module = Module(load_graph(case.model), Target("test", "none"), Dataset.from_arrays(samples))
    Pipeline.parse(PIPELINE).run(module)
    graph = module.require_integer()
    model = build_model(graph)
    onnx.checker.check_model(model, full_check=True)
    assert float_compute_nodes(optimize(serialize(model))) == []
    assert_agrees(graph, vectors(graph, 12, seed=1))
