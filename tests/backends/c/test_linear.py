"""The first kernel through everything: planned, written, compiled, run, equal."""

from __future__ import annotations

import numpy as np
import pytest

from bitsmith.backends.c import build, sources
from bitsmith.backends.c.verify import run_sources, trace
from bitsmith.execution.batches import vectors
from bitsmith.execution.interpreter import run
from bitsmith.target import Target
from tests.backends.onnxruntime.graphs import linear

HOST = Target("host", "c")


@pytest.mark.parametrize("shape", [(7,), (3, 7), (3, 2, 8)])
def test_equals_the_interpreter(shape: tuple[int, ...]) -> None:
    graph = linear(shape)
    inputs = vectors(graph, 12, seed=3)
    program = build(graph, HOST)
    texts = sources(program)
    for found in (run_sources(program, texts, inputs), trace(program, texts, inputs)):
        np.testing.assert_array_equal(found["y"], run(graph, inputs)["y"])
