"""Kernels for the DSP extension, in the plain C that stands for its instructions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from bitsmith.backends.c import build
from bitsmith.backends.c.machines import run_program
from bitsmith.execution.batches import vectors
from bitsmith.ir.integer import Conv, IntegerGraph, Linear
from bitsmith.target import load_target
from tests.backends.c.agreement import assert_equal
from tests.backends.c.needs import machine_of
from tests.backends.c.test_helium import side_by_side
from tests.backends.onnxruntime.graphs import X, Y, add, conv, linear, one
from tests.strategies import integer_graphs

M4 = load_target("cortex-m4")
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def strided(space: tuple[int, int], stride: int, **options: Any) -> IntegerGraph:
    """A convolution in steps, with weights from -127 on, as compiled ones are."""
    graph = conv(space, **options)
    (operation,) = graph.operations
    assert isinstance(operation, Conv)
    usual = replace(operation, strides=(stride, stride), weight=np.maximum(operation.weight, -127))
    shapes = {name: graph.values[name].shape for name in graph.inputs}
    return one(usual, shapes, {name: value.format for name, value in graph.values.items()})


@pytest.mark.parametrize("space", [(1, 1), (1, 2), (3, 5), (8, 7)])
@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize("kernel", [1, 3])
def test_convolutions(space: tuple[int, int], channels: int, kernel: int) -> None:
    program = assert_equal(strided(space, 1, channels=channels, kernel=kernel), target=M4)
    assert [step.kernel.family for step in program.steps] == ["dsp conv"]


@pytest.mark.parametrize("channels", [3, 4])
def test_convolutions_in_steps(channels: int) -> None:
    program = assert_equal(strided((9, 8), 2, channels=channels), target=M4)
    assert [step.kernel.family for step in program.steps] == ["dsp conv"]


ODD = side_by_side(
    [
        strided((5, 4), 1, out_channels=5, channels=4),
        strided((5, 3), 1, out_channels=1, channels=3),
        strided((3, 3), 1, out_channels=7, channels=8, kernel=1),
        strided((4, 7), 1, out_channels=3, channels=37, kernel=1),
        strided((5, 4), 1, out_channels=4, channels=1, kernel=1),
        strided((5, 4), 1, out_channels=4, channels=2, kernel=1),
        strided((5, 4), 1, out_channels=4, channels=3, kernel=1),
        strided((1, 1), 1, out_channels=9, channels=40),
        strided((9, 8), 2, out_channels=3, channels=5),
        strided((6, 6), 1, out_channels=5, channels=3, clamp=(-20, 90)),
    ]
)


def test_odd_numbers_of_channels() -> None:
    program = assert_equal(ODD, target=M4)
    assert {step.kernel.family for step in program.steps} == {"dsp conv"}
    _, machine = machine_of("cortex-m4")
    outcome = run_program(machine, program, vectors(ODD, 4, seed=5))
    assert outcome.passed, outcome.meaning


def test_a_pixel_of_odd_channels_may_lie_where_its_input_is() -> None:
    (operation,) = strided((4, 5), 1, out_channels=3, channels=12, kernel=1).operations
    assert isinstance(operation, Conv)
    graph = one(replace(operation, pads=(0, 0, 0, 0)), {"x": (12, 4, 5)}, {"x": X, "y": Y})
    (step,) = build(graph, M4).steps
    # The first tile of 9 elements writes a tenth, and leaves input from the 36th on to be read.
    assert step.kernel.gaps == {0: 10 - 36}


@pytest.mark.parametrize("space", [(1, 1), (2, 3), (5, 4), (7, 9), (4, 16)])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_convolutions(space: tuple[int, int], stride: int) -> None:
    program = assert_equal(strided(space, stride, channels=6, groups=6), target=M4)
    assert [step.kernel.family for step in program.steps] == ["dsp depthwise"]


@pytest.mark.parametrize("inputs", [3, 4, 7, 41])
@pytest.mark.parametrize("outputs", [1, 4, 10])
def test_linear_layers(inputs: int, outputs: int) -> None:
    program = assert_equal(linear((inputs,), outputs), target=M4)
    assert [step.kernel.family for step in program.steps] == ["dsp linear"]


@pytest.mark.parametrize("shape", [(1,), (3, 4), (5, 3)])
@pytest.mark.parametrize("signs", [(1, 1), (1, -1)])
def test_sums(shape: tuple[int, ...], signs: tuple[int, int]) -> None:
    program = assert_equal(add(signs, shape, shape), target=M4)
    assert [step.kernel.family for step in program.steps] == ["dsp add"]


@pytest.mark.parametrize(("lowest", "highest"), [(-20, 127), (-128, 90), (13, 60)])
def test_clamps_inside_the_grid(lowest: int, highest: int) -> None:
    for graph in (strided((5, 4), 1), strided((5, 4), 2, channels=6, groups=6)):
        (operation,) = graph.operations
        assert isinstance(operation, Conv)
        rule = replace(operation.requantize, lowest=lowest, highest=highest)
        assert_equal(replace(graph, operations=(replace(operation, requantize=rule),)), target=M4)


@pytest.mark.parametrize("bias", [-(1 << 30), 1 << 30])
def test_a_channel_that_its_bias_holds_at_one_end_keeps_its_kernel(bias: int) -> None:
    graph = linear((16,))
    (operation,) = graph.operations
    assert isinstance(operation, Linear)
    held = replace(operation, bias=np.where(np.arange(5) == 2, bias, operation.bias))
    graph = replace(graph, operations=(held,))
    program = assert_equal(graph, vectors(graph, 40, seed=1), target=M4)
    assert [step.kernel.family for step in program.steps] == ["dsp linear"]


def test_sums_that_pass_23_bits_are_left_to_plain_c() -> None:
    graph = linear((600,))
    (operation,) = graph.operations
    assert isinstance(operation, Linear)
    loud = replace(operation, weight=np.full_like(operation.weight, 127))
    program = assert_equal(replace(graph, operations=(loud,)), target=M4)
    assert [step.kernel.family for step in program.steps] == ["linear"]


@settings(max_examples=8, suppress_health_check=SLOW)
@given(graph=integer_graphs(["Conv", "Linear", "Add"], most=4, bits=(8, 4, 2)))
def test_chains(graph: IntegerGraph) -> None:
    assert_equal(graph, target=M4)


@settings(max_examples=4, suppress_health_check=SLOW, deadline=None)
@given(graph=integer_graphs(["Conv", "Linear", "Add"], most=8, bits=(8, 4, 2)))
def test_chains_on_the_core(graph: IntegerGraph) -> None:
    _, machine = machine_of("cortex-m4")
    outcome = run_program(machine, build(graph, M4), vectors(graph, 4, seed=5))
    assert outcome.passed, outcome.meaning
