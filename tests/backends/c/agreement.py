"""Compiled C held to the interpreter."""

from __future__ import annotations

import numpy as np

from bitsmith.backends.c import Program, build, sources
from bitsmith.backends.c.verify import run_sources, trace
from bitsmith.execution.batches import Batch, vectors
from bitsmith.execution.interpreter import run
from bitsmith.ir.integer import IntegerGraph
from bitsmith.target import Target

HOST = Target("host", "c")


def assert_equal(graph: IntegerGraph, inputs: Batch | None = None, target: Target = HOST) -> Program:
    """The C of a graph gives what the interpreter gives: outputs of it as written, and every step of it traced."""
    inputs = vectors(graph, 6, seed=7) if inputs is None else inputs
    program = build(graph, target)
    texts = sources(program)
    expected = run(graph, inputs, keep=True)
    found = run_sources(program, texts, inputs)
    differing = [name for name in graph.outputs if not np.array_equal(found[name], expected[name])]
    if differing:
        seen = trace(program, texts, inputs)
        wrong = [name for name, values in seen.items() if not np.array_equal(values, expected[name])]
        raise AssertionError(f"outputs {differing} differ; of all values {wrong}")
    for name in graph.outputs:
        assert found[name].dtype == expected[name].dtype
    return program
