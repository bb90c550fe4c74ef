"""Convolution with weights of 4 and 2 bits by SMLAD: its plain C under sanitizers, its assembly under QEMU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bitsmith.backends.c import build
from bitsmith.backends.c.kernels.dsp.narrow import PLACES, narrow_stream
from bitsmith.backends.c.kernels.dsp.packed import Settled
from bitsmith.backends.c.machines import run_program
from bitsmith.execution.batches import vectors
from tests.backends.c.agreement import HOST, assert_equal
from tests.backends.c.needs import machine_of
from tests.backends.c.test_helium import side_by_side, strided
from tests.backends.onnxruntime.graphs import conv

FAMILY = "dsp narrow conv"
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
