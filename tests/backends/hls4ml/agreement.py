"""C simulation of a written project held to the interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bitsmith.backends.hls4ml import Hls4mlBackend
from bitsmith.execution.batches import vectors
from bitsmith.execution.interpreter import run
from bitsmith.ir.integer import IntegerGraph
from bitsmith.target import Target

SAMPLES = 1000


def assert_equal(graph: IntegerGraph, target: Target, folder: Path, samples: int = SAMPLES) -> None:
    """On corners and noise, every element of every output."""
    backend = Hls4mlBackend()
    backend.emit(graph, target, folder)
    assert_simulates(graph, folder, samples)


def assert_simulates(graph: IntegerGraph, folder: Path, samples: int = SAMPLES) -> None:
    """What is in the folder, on corners and noise."""
    inputs = vectors(graph, samples, seed=11)
    expected, found = run(graph, inputs), Hls4mlBackend().run(graph, folder, inputs)
    for name in graph.outputs:
        assert found[name].shape[0] == samples
        np.testing.assert_array_equal(found[name], expected[name])
