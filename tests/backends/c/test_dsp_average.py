"""Averages by the DSP extension's additions of bytes, in plain C here and on a Cortex-M4 under QEMU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitsmith.backends.c import build
from bitsmith.backends.c.machines import run_program
from bitsmith.execution.batches import vectors
from bitsmith.ir.integer import AveragePool, IntegerGraph
from bitsmith.target import load_target
from tests.backends.c.agreement import assert_equal
from tests.backends.c.needs import machine_of
from tests.backends.onnxruntime.graphs import X, Y, average, one

M4 = load_target("cortex-m4")
CASES = [
    ((8, 8), (8, 8), (1, 1), (1, 1)),
    ((25, 5), (25, 5), (1, 1), (1, 1)),
    ((5, 5), (2, 3), (2, 1), (1, 1)),
    ((7, 6), (2, 2), (1, 2), (3, 2)),
    ((9,), (3,), (2,), (1,)),
]


def pooled(
    space: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], channels: int
) -> IntegerGraph:
    graph = average(space, 7.3, kernel, strides=strides, dilations=dilations)
    (operation,) = graph.operations
    return one(operation, {"x": (channels, *space)}, {"x": X, "y": Y})


@pytest.mark.parametrize("channels", [4, 12])
@pytest.mark.parametrize(("space", "kernel", "strides", "dilations"), CASES)
def test_averages(
    space: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], channels: int
) -> None:
    graph = pooled(space, kernel, strides, dilations, channels)
    program = assert_equal(graph, target=M4)
    assert [step.kernel.family for step in program.steps] == ["dsp average"]
    _, machine = machine_of("cortex-m4")
    outcome = run_program(machine, program, vectors(graph, 6, seed=2))
    assert outcome.passed, outcome.meaning


@pytest.mark.parametrize("channels", [3, 5])
def test_odd_channels_are_left_to_plain_c(channels: int) -> None:
    program = assert_equal(pooled((5, 5), (2, 2), (1, 1), (1, 1), channels), target=M4)
    assert [step.kernel.family for step in program.steps] == ["average"]


def test_padded_and_long_windows_are_left_to_plain_c() -> None:
    padded = pooled((5, 5), (2, 2), (1, 1), (1, 1), 4)
    (operation,) = padded.operations
    assert isinstance(operation, AveragePool)
    padded = one(replace(operation, pads=(1, 1, 0, 0)), {"x": (4, 5, 5)}, {"x": X, "y": Y})
    for graph in (padded, pooled((16, 16), (16, 16), (1, 1), (1, 1), 4)):
        program = build(graph, M4)
        assert [step.kernel.family for step in program.steps] == ["average"]
