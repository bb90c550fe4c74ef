"""Convolution with weights of 4 and 2 bits by SMLAD: its plain C under sanitizers, its assembly under QEMU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bitsmith.backends.c import build
from bitsmith.backends.c.kernels.dsp.narrow import PLACES, DspNarrowConv
from bitsmith.backends.c.kernels.dsp.narrow_linear import DspNarrowLinear
from bitsmith.backends.c.kernels.dsp.packed import Settled
from bitsmith.backends.c.kernels.dsp.paired import DspPairedConv, paired
from bitsmith.backends.c.kernels.dsp.paired_linear import DspPairedLinear
from bitsmith.backends.c.machines import run_program
from bitsmith.execution.batches import vectors
from bitsmith.ir.integer import Conv, IntegerGraph, Linear
from tests.backends.c.agreement import HOST, assert_equal
from tests.backends.c.needs import machine_of
from tests.backends.c.test_helium import narrowed, side_by_side, strided
from tests.backends.onnxruntime.graphs import conv, linear

FAMILIES = {4: "dsp narrow conv", 2: "dsp paired conv"}
DSP = ("multiply", "long-multiply", "dsp")


CASES = {
    bits: side_by_side(
        [
            conv((5, 4), 16, 8, kernel=1, weight_bits=bits),
            conv((5, 3), 6, 12, kernel=1, weight_bits=bits),
            conv((1, 2), 4, 8, kernel=1, weight_bits=bits),
            conv((3, 3), 5, 24, kernel=1, weight_bits=bits),
            conv((4, 3), 5, 7, kernel=1, weight_bits=bits),
            conv((4, 5), 4, 16, weight_bits=bits),
            conv((7, 6), 9, 16, weight_bits=bits, per_channel=False),
            conv((5, 5), 5, 4, weight_bits=bits, clamp=(-20, 90)),
            conv((5, 4), 1, 3, weight_bits=bits),
            conv((1, 1), 2, 33, weight_bits=bits),
            conv((3, 2), 2, 2, kernel=1, weight_bits=bits),
            conv((9,), 8, 5, weight_bits=bits),
            conv((6, 6), 3, 132, kernel=2, weight_bits=bits),
            strided(conv((9, 8), 6, 8, weight_bits=bits), (2, 3), (0, 1, 1, 0)),
        ]
    )
    for bits in (4, 2)
}


@pytest.mark.parametrize("bits", CASES)
def test_plain_c(bits: int) -> None:
    program = assert_equal(CASES[bits], target=replace(HOST, features=DSP))
    assert {step.kernel.family for step in program.steps} == {FAMILIES[bits]}


@pytest.mark.parametrize("bits", CASES)
def test_assembly(bits: int) -> None:
    target, machine = machine_of("cortex-m4")
    program = build(CASES[bits], target)
    assert {step.kernel.family for step in program.steps} == {FAMILIES[bits]}
    outcome = run_program(machine, program, vectors(CASES[bits], 4, seed=5))
    assert outcome.passed, outcome.meaning


def test_words_hold_4_bit_weights_above_the_lowest_where_instructions_take_them() -> None:
    rows = np.random.default_rng(4).integers(-3, 13, (2, 8))
    rows[:, 0] = -3, -2
    rows[1] = np.maximum(rows[1], -2)
    stream = DspNarrowConv().stream(Settled(rows, np.array([3, -1]), np.array([5, 6]))).astype(np.int32).tolist()
    assert [number / 2**4 for number in stream[:4]] == [-3, -2, 3, -1]
    assert stream[-2:] == [5, 6]
    for row, word, lowest in zip(rows, stream[4:6], (-3, -2), strict=True):
        held = [(word >> 4 * place & 15) + lowest for place in range(8)]
        assert held == row[list(PLACES)].tolist()


def test_words_of_2_bit_weights_come_in_twos_the_last_outputs_first() -> None:
    settled = settled_rows(2, 3, 24)
    stream = DspPairedConv().stream(settled).astype(np.int64).reshape(2, 10)
    _, words = paired(settled)
    np.testing.assert_array_equal(stream[:, 4:8], [[0, *words[1]], [0, *words[0]]])
    assert stream[:, 8:].tolist() == [[1, 0], [1, 1]]
    assert stream[1, :2].tolist() == [(1 << 32) - 4, 1]


LINEAR = side_by_side(
    [
        narrowed(linear((inputs,), outputs, seed=inputs), lowest, span)
        for inputs, outputs, lowest, span in (
            (3, 1, -8, 16),
            (8, 4, -7, 15),
            (37, 3, -8, 16),
            (131, 6, -8, 16),
            (7, 5, -2, 4),
            (16, 4, -1, 3),
            (64, 2, -2, 4),
            (131, 6, -2, 4),
            (9, 4, -1, 3),
            (24, 9, -2, 4),
        )
    ]
)


BITS_OF_LINEAR = (4, 4, 4, 4, 2, 2, 2, 2, 2, 2)


def families_of_linear() -> list[str]:
    return sorted("dsp narrow linear" if bits == 4 else "dsp paired linear" for bits in BITS_OF_LINEAR)


def test_linear_in_plain_c() -> None:
    program = assert_equal(LINEAR, target=replace(HOST, features=DSP))
    assert sorted(step.kernel.family for step in program.steps) == families_of_linear()


def test_linear_in_assembly() -> None:
    target, machine = machine_of("cortex-m4")
    program = build(LINEAR, target)
    assert sorted(step.kernel.family for step in program.steps) == families_of_linear()
    outcome = run_program(machine, program, vectors(LINEAR, 4, seed=5))
    assert outcome.passed, outcome.meaning


@pytest.mark.parametrize(
    "graph",
    [linear((64,), 4, weight_bits=2), conv((1, 3), 4, 64, kernel=1, weight_bits=2)],
    ids=["linear", "conv"],
)
def test_sums_of_two_outputs_keep_apart_at_their_ends(graph: IntegerGraph) -> None:
    """Weights and inputs whose products in a lower half are as large as they get, beside upper halves of both signs."""
    rows = np.tile(np.array([[3], [0], [3], [3]], np.int64) - 2, (1, 64))
    rows[:, ::16] = np.array([[-2], [1], [-2], [-2]])
    (operation,) = graph.operations
    assert isinstance(operation, (Conv, Linear))
    weight = rows.reshape(operation.weight.shape).astype(operation.weight.dtype)
    graph = replace(graph, operations=(replace(operation, weight=weight),))
    pattern = np.array([[127] * 64, [-128] * 64, [-128, 127] * 32], np.int8)
    shape = graph.values["x"].shape
    inputs = {"x": np.stack([np.resize(row, shape[::-1]).T for row in pattern])}
    program = assert_equal(graph, inputs, target=replace(HOST, features=DSP))
    target, machine = machine_of("cortex-m4")
    for one in (program, build(graph, target)):
        assert all(step.kernel.family.startswith("dsp paired") for step in one.steps)
    outcome = run_program(machine, build(graph, target), inputs)
    assert outcome.passed, outcome.meaning


@pytest.mark.parametrize("graphs", [linear, conv], ids=["linear", "conv"])
def test_fewer_bits_cost_no_more_than_they_should(graphs: Callable[..., IntegerGraph]) -> None:
    """4 bits at most 1.15 of the instructions of 8 bits, and 2 bits no more than 4: also where no pixels share them."""
    target, machine = machine_of("cortex-m4")
    totals = []
    for bits in (8, 4, 2):
        graph = graphs((640,), 64, weight_bits=bits) if graphs is linear else graphs((6, 6), 16, 16, weight_bits=bits)
        outcome = run_program(machine, build(graph, target), vectors(graph, 1, seed=5), count=True)
        assert outcome.passed, outcome.meaning
        assert outcome.counts is not None
        totals.append(outcome.counts.total)
    eight, four, two = totals
    assert four <= 1.15 * eight
    assert two <= four


def settled_rows(bits: int, outputs: int, inputs: int) -> Settled:
    random = np.random.default_rng(bits)
    rows = random.integers(-1, -1 + (1 << bits), (outputs, inputs))
    rows[:, 0] = -1
    return Settled(rows, np.zeros(outputs, np.int64), np.ones(outputs, np.int64))


def test_words_of_4_bit_linear_weights_have_a_sign_by_half() -> None:
    settled = settled_rows(4, 4, 8)
    lowest, start, words, _ = DspNarrowLinear().stream(settled).astype(np.int64).reshape(4, 4)
    for row, word in zip(settled.rows, words.tolist(), strict=True):
        held = [(word >> 4 * place & 15) - 1 for place in range(8)]
        held[3] = (held[3] + 1 ^ 8) - 1
        held[7] = (held[7] + 1 ^ 8) - 1
        assert held == row[list(PLACES)].tolist()
    signed = (settled.rows + 1)[:, list(PLACES)].reshape(4, 2, -1)[..., -1] - 8
    np.testing.assert_array_equal(start, (127 * signed.sum(axis=1) << 12) % (1 << 32))
    np.testing.assert_array_equal(lowest, np.full(4, (1 << 32) - (1 << 12)))


def test_words_of_2_bit_linear_weights_hold_two_outputs() -> None:
    settled = settled_rows(2, 4, 8)
    stream = DspPairedLinear().stream(settled).astype(np.int64)
    assert stream[:4].tolist() == [(1 << 32) - 4, 1, (1 << 32) - 4, 1]
    factors = np.array([4, 1, 4, 1])
    np.testing.assert_array_equal(stream[4:8], -128 * factors * settled.rows.sum(axis=1) % (1 << 32))
    for (first, second), word in zip(settled.rows.reshape(2, 2, 8), stream[8:10].tolist(), strict=True):
        for turn, inputs in enumerate(((0, 2), (1, 3), (4, 6), (5, 7))):
            turned = (word >> 4 * turn | word << 32 - 4 * turn) & 0xC003C003
            halves = [(half ^ 1 << 15) - (1 << 15) for half in (turned & 0xFFFF, turned >> 16)]
            assert halves == [(second[i] - 1 << 14) + first[i] + 1 for i in inputs]
    assert stream[10:].tolist() == [1, 1, 1, 1]


DEPTHWISE = side_by_side(
    [conv((6, 5), 6, 6, groups=6, weight_bits=bits, seed=bits) for bits in (8, 4, 3, 2)]
    + [strided(conv((9, 8), 5, 5, groups=5, weight_bits=bits), (2, 2), (0, 0, 1, 1)) for bits in (4, 2)]
)


def test_depthwise_weights_are_unpacked_channel_by_channel() -> None:
    program = assert_equal(DEPTHWISE, target=replace(HOST, features=DSP))
    assert {step.kernel.family for step in program.steps} <= {"dsp depthwise", "depthwise"}
    narrow = [step for step in program.steps if step.site.operation.name != "conv0"]
    assert {step.kernel.family for step in narrow} == {"dsp depthwise"}
    target, machine = machine_of("cortex-m4")
    assert run_program(machine, build(DEPTHWISE, target), vectors(DEPTHWISE, 4, seed=5)).passed
