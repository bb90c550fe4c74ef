"""Convolution with weights of 4 and 2 bits by SMLAD: its plain C under sanitizers, its assembly under QEMU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bitsmith.backends.c import build
from bitsmith.backends.c.kernels.dsp.narrow import PLACES, narrow_stream
from bitsmith.backends.c.kernels.dsp.narrow_linear import UNITS, linear_stream
from bitsmith.backends.c.kernels.dsp.packed import Settled
from bitsmith.backends.c.machines import run_program
from bitsmith.execution.batches import vectors
from bitsmith.ir.integer import IntegerGraph, Linear
from tests.backends.c.agreement import HOST, assert_equal
from tests.backends.c.needs import machine_of
from tests.backends.c.test_helium import side_by_side, strided
from tests.backends.onnxruntime.graphs import conv, linear, one

FAMILY = "dsp narrow conv"


def narrowed(graph: IntegerGraph, lowest: int, span: int) -> IntegerGraph:
    """A graph of one Linear with so many neighbouring integers for weights."""
    (operation,) = graph.operations
    assert isinstance(operation, Linear)
    weight = np.random.default_rng(span).integers(lowest, lowest + span, operation.weight.shape)
    rule = operation.requantize
    louder = replace(rule, shift=rule.shift - 3)
    narrow = replace(operation, weight=weight, requantize=louder)
    return one(narrow, {"x": graph.values["x"].shape}, {name: value.format for name, value in graph.values.items()})


CASES = side_by_side(
    [
        graph
        for bits in (4, 2)
        for graph in (
            conv((5, 4), 16, 8, kernel=1, weight_bits=bits),
            conv((5, 3), 6, 12, kernel=1, weight_bits=bits),
            conv((1, 2), 4, 8, kernel=1, weight_bits=bits),
            conv((7, 6), 10, 16, weight_bits=bits, per_channel=False),
            conv((5, 5), 6, 4, weight_bits=bits, clamp=(-20, 90)),
            conv((5, 4), 4, 3, weight_bits=bits),
            conv((1, 1), 2, 33, weight_bits=bits),
            conv((9,), 8, 5, weight_bits=bits),
            conv((6, 6), 4, 132, kernel=2, weight_bits=bits),
            strided(conv((9, 8), 6, 8, weight_bits=bits), (2, 3), (0, 1, 1, 0)),
        )
    ]
)


def test_plain_c() -> None:
    program = assert_equal(CASES, target=replace(HOST, features=("multiply", "long-multiply", "dsp")))
    assert {step.kernel.family for step in program.steps} == {FAMILY}


@pytest.mark.parametrize("name", ["cortex-m4", "cortex-m7"])
def test_assembly(name: str) -> None:
    target, machine = machine_of(name)
    program = build(CASES, target)
    assert {step.kernel.family for step in program.steps} == {FAMILY}
    outcome = run_program(machine, program, vectors(CASES, 4, seed=5))
    assert outcome.passed, outcome.meaning


@pytest.mark.parametrize("bits", [4, 2])
def test_words_hold_weights_above_the_lowest_where_instructions_take_them(bits: int) -> None:
    group = 32 // bits
    rows = np.random.default_rng(bits).integers(-3, -3 + (1 << bits), (2, group))
    rows[:, 0] = -3, -2
    rows[1] = np.maximum(rows[1], -2)
    stream = narrow_stream(Settled(rows, np.array([3, -1]), np.array([5, 6])), bits).astype(np.int32).tolist()
    assert [number / 2 ** (8 - bits) for number in stream[:4]] == [-3, -2, 3, -1]
    assert stream[-2:] == [5, 6]
    for row, word, lowest in zip(rows, stream[4:6], (-3, -2), strict=True):
        held = [(word >> bits * place & (1 << bits) - 1) + lowest for place in range(group)]
        assert held == row[list(PLACES[bits])].tolist()


LINEAR = side_by_side(
    [
        narrowed(linear((inputs,), outputs, seed=inputs), lowest, span)
        for inputs, outputs in ((3, 1), (8, 4), (16, 5), (37, 3), (64, 8), (131, 6))
        for lowest, span in ((-8, 16), (-7, 15), (-2, 4), (-1, 3))
    ]
)


def test_linear_in_plain_c() -> None:
    program = assert_equal(LINEAR, target=replace(HOST, features=("multiply", "long-multiply", "dsp")))
    assert {step.kernel.family for step in program.steps} == {"dsp narrow linear"}


def test_linear_in_assembly() -> None:
    target, machine = machine_of("cortex-m4")
    program = build(LINEAR, target)
    assert {step.kernel.family for step in program.steps} == {"dsp narrow linear"}
    outcome = run_program(machine, program, vectors(LINEAR, 4, seed=5))
    assert outcome.passed, outcome.meaning


@pytest.mark.parametrize("bits", [4, 2])
def test_words_of_linear_weights_have_a_sign_by_half(bits: int) -> None:
    group, unit = 32 // bits, UNITS[bits]
    random = np.random.default_rng(bits)
    rows = random.integers(-1, -1 + (1 << bits), (4, group))
    rows[:, 0] = -1
    settled = Settled(rows, np.zeros(4, np.int64), np.ones(4, np.int64))
    stream = linear_stream(settled, bits).astype(np.int64).reshape(4, 4)
    lowest, start, words, _ = stream
    for row, word in zip(rows, words.tolist(), strict=True):
        held = [(word >> bits * place & (1 << bits) - 1) - 1 for place in range(group)]
        held[group // 2 - 1] = (held[group // 2 - 1] + 1 ^ 1 << (bits - 1)) - 1
        held[-1] = (held[-1] + 1 ^ 1 << (bits - 1)) - 1
        assert held == row[list(PLACES[bits])].tolist()
    signed = (rows + 1)[:, list(PLACES[bits])].reshape(4, 2, -1)[..., -1] - (1 << (bits - 1))
    np.testing.assert_array_equal(start, (127 * signed.sum(axis=1) << unit) % (1 << 32))
    np.testing.assert_array_equal(lowest, np.full(4, (1 << 32) - (1 << unit)))


DEPTHWISE = side_by_side(
    [conv((6, 5), 6, 6, groups=6, weight_bits=bits, seed=bits) for bits in (8, 4, 3, 2)]
    + [strided(conv((9, 8), 5, 5, groups=5, weight_bits=bits), (2, 2), (0, 0, 1, 1)) for bits in (4, 2)]
)


def test_depthwise_weights_are_unpacked_channel_by_channel() -> None:
    program = assert_equal(DEPTHWISE, target=replace(HOST, features=("multiply", "long-multiply", "dsp")))
    assert {step.kernel.family for step in program.steps} <= {"dsp depthwise", "depthwise"}
    narrow = [step for step in program.steps if step.site.operation.name != "conv0"]
    assert {step.kernel.family for step in narrow} == {"dsp depthwise"}
    target, machine = machine_of("cortex-m4")
    assert run_program(machine, build(DEPTHWISE, target), vectors(DEPTHWISE, 4, seed=5)).passed
