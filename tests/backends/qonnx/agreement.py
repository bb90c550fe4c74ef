"""A QONNX model held to the interpreter by qonnx's own executor."""

from __future__ import annotations

import numpy as np

from bitsmith.backends.qonnx import build_model
from bitsmith.backends.qonnx.verify import execute
from bitsmith.execution.batches import Batch, vectors
from bitsmith.execution.interpreter import run
from bitsmith.ir.integer import IntegerGraph


def assert_equal(graph: IntegerGraph, inputs: Batch | None = None) -> None:
    """Every value that an operation makes is the interpreter's, in every element."""
    inputs = vectors(graph, 12, seed=7) if inputs is None else inputs
    expected = run(graph, inputs, keep=True)
    found = execute(graph, build_model(graph), inputs, [operation.output for operation in graph])
    wrong = [name for name, values in found.items() if not np.array_equal(values, expected[name])]
    assert not wrong, f"{wrong} differ"
