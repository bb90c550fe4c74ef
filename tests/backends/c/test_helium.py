"""Kernels for Helium: their plain C under sanitizers, their assembly on a Cortex-M55 under QEMU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from bitsmith.backends.c import build
from bitsmith.backends.c.kernels.mve.depthwise import grouped
from bitsmith.backends.c.machines import run_program
from bitsmith.execution.batches import vectors
from bitsmith.ir.integer import Conv, IntegerGraph, Linear
from bitsmith.ir.validate import validate
from tests.backends.c.agreement import HOST, assert_equal
from tests.backends.c.needs import machine_of
from tests.backends.onnxruntime.graphs import add, conv, linear, one
from tests.strategies import integer_graphs


def narrowed(graph: IntegerGraph, lowest: int, span: int) -> IntegerGraph:
    """A graph of one Linear with so many neighbouring integers for weights."""
    (operation,) = graph.operations
    assert isinstance(operation, Linear)
    weight = np.random.default_rng(span).integers(lowest, lowest + span, operation.weight.shape)
    louder = replace(operation.requantize, shift=operation.requantize.shift - 3)
    narrow = replace(operation, weight=weight, requantize=louder)
    return one(narrow, {"x": graph.values["x"].shape}, {name: value.format for name, value in graph.values.items()})


HELIUM = replace(HOST, features=("multiply", "long-multiply", "dsp", "mve"))

CASES = {
    "helium conv": [
        conv((5, 4), 16, 8, kernel=1),
        conv((5, 4), 6, 4),
        conv((7, 6), 10, 16, per_channel=False),
        conv((1, 1), 2, 33, kernel=3),
        conv((2, 1), 4, 3, clamp=(-20, 90)),
        conv((9,), 8, 5),
        conv((6, 6), 4, 130, kernel=2),
    ],
    "helium depthwise": [
        conv((5, 4), 16, 16, groups=16),
        conv((6, 7), 6, 6, groups=6),
        conv((4, 5), 37, 37, groups=37, clamp=(-20, 90)),
        conv((3, 3), 20, 20, groups=20, kernel=5),
        conv((9,), 18, 18, groups=18),
        conv((8, 3), 32, 32, groups=32, kernel=1),
    ],
    "helium linear": [linear((9,)), linear((64,), 10), linear((33,), 8), linear((640,), 4), linear((5,), 1)],
    "helium add": [
        add((1, 1)),
        add((1, -1), (5, 4, 7), (5, 4, 7)),
        add((-1, 1), (16,), (16,)),
    ],
}


CASES["helium narrow conv"] = [
    conv(space, outputs, channels, kernel=kernel, weight_bits=bits)
    for bits in (4, 2)
    for space, outputs, channels, kernel in (
        ((5, 4), 6, 4, 3),
        ((5, 3), 4, 16, 1),
        ((1, 2), 2, 33, 3),
        ((4, 4), 8, 64, 1),
        ((3, 3), 2, 7, 1),
        ((3, 2), 2, 130, 1),
    )
]
CASES["helium narrow linear"] = [
    narrowed(linear((inputs,), outputs, seed=inputs), -(span // 2), span)
    for span in (16, 4)
    for inputs, outputs in ((9, 5), (16, 4), (64, 10), (33, 8), (200, 4), (5, 1))
]
CASES["helium depthwise"] += [conv((5, 4), 18, 18, groups=18, weight_bits=bits) for bits in (4, 2)]


def strided(graph: IntegerGraph, strides: tuple[int, int], pads: tuple[int, int, int, int]) -> IntegerGraph:
    """A graph of one Conv with other strides and pads."""
    (operation,) = graph.operations
    assert isinstance(operation, Conv)
    formats = {name: value.format for name, value in graph.values.items()}
    return one(replace(operation, strides=strides, pads=pads), {"x": graph.values["x"].shape}, formats)


CASES["helium conv"] += [strided(conv((9, 8), 6, 8), (2, 3), (0, 1, 1, 0))]
CASES["helium depthwise"] += [
    strided(conv((9, 8), 17, 17, groups=17), (2, 2), (0, 0, 1, 1)),
    strided(conv((9, 8), 16, 16, groups=16), (1, 2), (2, 2, 0, 1)),
    strided(conv((7, 11), 16, 16, groups=16), (3, 4), (1, 0, 0, 0)),
]


def side_by_side(graphs: Sequence[IntegerGraph]) -> IntegerGraph:
    """One graph of graphs that have nothing to do with each other, so that one run tries them all."""
    values, inputs, outputs, operations = {}, [], [], []
    for position, graph in enumerate(graphs):
        named = {name: f"{name}{position}" for name in graph.values}
        values |= {named[name]: replace(value, name=named[name]) for name, value in graph.values.items()}
        inputs += [named[name] for name in graph.inputs]
        outputs += [named[name] for name in graph.outputs]
        operations += [
            replace(
                operation,
                name=f"{operation.name}{position}",
                inputs=tuple(named[name] for name in operation.inputs),
                output=named[operation.output],
            )
            for operation in graph.operations
        ]
    together = IntegerGraph("cases", values, tuple(inputs), tuple(outputs), tuple(operations))
    validate(together)
    return together


@pytest.mark.parametrize("family", CASES)
def test_plain_c(family: str) -> None:
    program = assert_equal(side_by_side(CASES[family]), target=HELIUM)
    assert {step.kernel.family for step in program.steps} == {family}


@pytest.mark.parametrize("family", CASES)
def test_assembly(family: str) -> None:
    target, machine = machine_of("cortex-m55")
    graph = side_by_side(CASES[family])
    program = build(graph, target)
    assert {step.kernel.family for step in program.steps} == {family}
    outcome = run_program(machine, program, vectors(graph, 4, seed=5))
    assert outcome.passed, outcome.meaning


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graph=integer_graphs(["Conv", "Linear", "Add"], most=4, bits=(8, 4, 2)))
def test_chains(graph: IntegerGraph) -> None:
    assert_equal(graph, target=HELIUM)


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(graph=integer_graphs(["Conv", "Linear", "Add"], most=8, bits=(8, 4, 2), grids=()))
def test_chains_on_the_core(graph: IntegerGraph) -> None:
    target, machine = machine_of("cortex-m55")
    outcome = run_program(machine, build(graph, target), vectors(graph, 4, seed=5))
    assert outcome.passed, outcome.meaning


def test_groups_of_taps_fit_16_bits() -> None:
    rows = np.random.default_rng(0).integers(-128, 128, (16, 9))
    groups = grouped(rows, 128)
    assert sorted(tap for group in groups for tap in group) == list(range(9))
    for group in groups:
        assert (128 * np.abs(rows[:, group]).sum(axis=1) < 1 << 15).all()
    # Of small weights all nine fit, and -128 times -128 with another as large does not.
    assert len(grouped(np.full((16, 9), 28), 128)) == 1
    assert len(grouped(np.full((16, 2), -128), 128)) == 2
