"""Circuits held to the interpreter."""

from __future__ import annotations

import numpy as np

from bitsmith.backends.rtl.design import Design, design
from bitsmith.backends.rtl.emit import project, sources
from bitsmith.backends.rtl.simulate import simulate
from bitsmith.execution.batches import Batch, vectors
from bitsmith.execution.interpreter import run
from bitsmith.ir.integer import IntegerGraph
from tests.backends.rtl.needs import require_verilator


def assert_equal(graph: IntegerGraph, inputs: Batch | None = None, levels: int = 5) -> Design:
    """The pipeline of a graph gives in da4ml's interpreter what the integer graph gives."""
    inputs = vectors(graph, 100, seed=7) if inputs is None else inputs
    made, expected = design(graph, levels), run(graph, inputs)
    for name, found in zip(graph.outputs, made.run([inputs[name] for name in graph.inputs]), strict=True):
        assert found.dtype == expected[name].dtype
        np.testing.assert_array_equal(found, expected[name])
    return made


def assert_verilog_equal(graph: IntegerGraph, inputs: Batch | None = None, levels: int = 5) -> Design:
    """As `assert_equal`, and so does its Verilog in Verilator, which must be there."""
    require_verilator()
    inputs = vectors(graph, 1000, seed=7) if inputs is None else inputs
    made, expected = assert_equal(graph, inputs, levels), run(graph, inputs)
    texts = {**sources(made), **project(made, inputs, expected)}
    simulated = simulate(made, texts, [inputs[name] for name in graph.inputs])
    for name, found in zip(graph.outputs, simulated, strict=True):
        assert len(found) == len(expected[name]) == 1000
        np.testing.assert_array_equal(found, expected[name])
    return made
