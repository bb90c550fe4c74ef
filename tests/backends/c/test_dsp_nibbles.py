"""4-bit convolution for the DSP extension: its plain C under sanitizers, its assembly on cores under QEMU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bitsmith.backends.c import build
from bitsmith.backends.c.kernels.dsp.nibbles import GROUP, PLACES, nibble_stream
from bitsmith.backends.c.kernels.dsp.packed import Settled
from bitsmith.backends.c.machines import run_program
from bitsmith.execution.batches import vectors
from tests.backends.c.agreement import HOST, assert_equal
from tests.backends.c.needs import machine_of
from tests.backends.c.test_helium import side_by_side, strided
from tests.backends.onnxruntime.graphs import conv

FAMILY = "dsp 4-bit conv"
CASES = side_by_side(
    [
        conv((5, 4), 16, 8, kernel=1, weight_bits=4),
        conv((5, 3), 6, 12, kernel=1, weight_bits=4),
        conv((1, 2), 4, 8, kernel=1, weight_bits=4),
        conv((7, 6), 10, 16, weight_bits=4, per_channel=False),
        conv((5, 5), 6, 4, weight_bits=4, clamp=(-20, 90)),
        conv((5, 4), 4, 3, weight_bits=4),
        conv((1, 1), 2, 33, weight_bits=4),
        conv((9,), 8, 5, weight_bits=4),
        conv((6, 6), 4, 132, kernel=2, weight_bits=4),
        strided(conv((9, 8), 6, 8, weight_bits=4), (2, 3), (0, 1, 1, 0)),
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


def test_words_hold_weights_where_instructions_take_them() -> None:
    rows = np.arange(-8, 8).reshape(2, 8)
    stream = nibble_stream(Settled(rows, np.array([3, -1]), np.array([5, 6])))
    assert stream.tolist()[:2] == [3 * 16, 2**32 - 16]
    assert stream.tolist()[-2:] == [5, 6]
    for row, word in zip(rows, stream.tolist()[2:4], strict=True):
        assert [(word >> 4 * place & 15) - 8 for place in range(GROUP)] == row[list(PLACES)].tolist()
