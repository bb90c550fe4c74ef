"""Ternary weights, five to a byte: how they are packed, and every kernel that reads them so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bitsmith.backends.c import build
from bitsmith.backends.c.kernels import FAMILIES, trits
from bitsmith.backends.c.kernels.weights import weights
from bitsmith.backends.c.machines import run_program
from bitsmith.execution.batches import vectors
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.grids import TERNARY
from bitsmith.ir.integer import Conv, IntegerGraph, Linear
from bitsmith.target import load_target
from tests.backends.c.agreement import HOST, assert_equal
from tests.backends.c.needs import machine_of
from tests.backends.c.test_helium import side_by_side, strided
from tests.backends.c.test_machines import TARGETS
from tests.backends.onnxruntime.graphs import conv, linear, one

ROWS = st.tuples(st.integers(1, 4), st.integers(1, 33)).flatmap(
    lambda shape: arrays(np.int8, shape, elements=st.integers(-1, 1))
)


def ternary(graph: IntegerGraph) -> IntegerGraph:
    """A graph of one operation with the signs of its weights for weights."""
    (operation,) = graph.operations
    assert isinstance(operation, Conv | Linear)
    chosen = Format(IntegerType(2), operation.weight_format.scale, axis=operation.weight_format.axis, grid=TERNARY)
    made = replace(operation, weight=np.sign(operation.weight), weight_format=chosen)
    return one(made, {"x": graph.values["x"].shape}, {name: value.format for name, value in graph.values.items()})


def decoded(row: bytes) -> list[int]:
    """The weights of packed bytes, by the definition: the number that 243/256 of the byte rounds down to, to base 3."""
    values = [243 * byte // 256 for byte in row]
    return [value // 3**place % 3 - 1 for value in values for place in (4, 3, 2, 1, 0)]


@given(rows=ROWS)
def test_what_is_packed_is_found_again(rows: npt.NDArray[np.int8]) -> None:
    packed = trits.pack(rows)
    assert packed.shape == (len(rows), -(-rows.shape[1] // 5))
    for row, stored in zip(rows.tolist(), packed, strict=True):
        found = decoded(stored.tobytes())
        assert found[: len(row)] == row
        assert not any(found[len(row) :])


def test_every_byte_of_five_weights_carries_them_out_one_by_one() -> None:
    rows = np.stack(np.meshgrid(*[[-1, 0, 1]] * 5, indexing="ij"), axis=-1).reshape(-1, 5)
    packed = trits.pack(rows)
    assert len(np.unique(packed)) == len(rows) == 243
    for row, (code,) in zip(rows.tolist(), packed.tolist(), strict=True):
        found = []
        for _ in row:
            code *= 3
            found.append((code >> 8) - 1)
            code &= 255
        assert found == row


def test_a_row_starts_on_a_byte_and_constants_are_no_larger() -> None:
    rows = np.random.default_rng(0).integers(-1, 2, (7, 23))
    stored = weights(rows, Format(IntegerType(2), (1.0,), grid=TERNARY))
    assert stored.description == "ternary weights, 5 to a byte"
    assert stored.row_length == 5
    assert sum(constant.bytes for constant in stored.constants) == 7 * 5


CASES = side_by_side(
    [
        ternary(graph)
        for graph in (
            conv((5, 4), 16, 8, kernel=1, weight_bits=2),
            conv((3, 3), 5, 25, kernel=1, weight_bits=2),
            conv((4, 5), 4, 16, weight_bits=2),
            conv((5, 4), 1, 3, weight_bits=2),
            strided(conv((9, 8), 6, 8, weight_bits=2), (2, 3), (0, 1, 1, 0)),
            conv((4, 4), 8, 8, groups=2, weight_bits=2),
            conv((6, 5), 6, 6, groups=6, weight_bits=2),
            conv((6, 5), 8, 4, groups=4, weight_bits=2),
            conv((7, 7), 3, 3, groups=3, kernel=6, weight_bits=2),
            conv((9,), 4, 4, groups=4, weight_bits=2),
            strided(conv((9, 8), 5, 5, groups=5, weight_bits=2), (2, 2), (0, 0, 0, 0)),
            linear((3,), 1, weight_bits=2),
            linear((131,), 6, weight_bits=2),
            linear((3, 2, 8), weight_bits=2),
        )
    ]
)


HELIUM = ("multiply", "long-multiply", "dsp", "mve")


@pytest.mark.parametrize("features", [(), ("registers", "no-multiply"), HELIUM], ids=["plain", "few", "helium"])
def test_plain_c(features: tuple[str, ...]) -> None:
    assert_equal(CASES, target=replace(HOST, features=features))


OF_MACHINES = {
    "cortex-m55": ("helium narrow conv",),
    "x86-64-avx2": ("avx2 tables", "avx2 bytes", "avx2 words"),
    "rv32e": ("tables",),
}


def test_kernels_that_take_more_than_five_to_a_byte_refuse_them() -> None:
    for name, families in OF_MACHINES.items():
        target = load_target(name)
        (step,) = build(ternary(conv((5, 4), 16, 8, weight_bits=2)), target).steps
        assert step.kernel.family == "conv"
        (constant,) = [one for one in step.kernel.constants if one.name == "weight"]
        assert constant.bytes == 16 * -(-8 * 9 // 5)
        assert {family.refusal(step.site) for family in FAMILIES if family.name in families} == {trits.CROWDED}


@pytest.mark.parametrize("name", TARGETS)
def test_every_machine(name: str) -> None:
    target, machine = machine_of(name)
    outcome = run_program(machine, build(CASES, target), vectors(CASES, 2, seed=5))
    assert outcome.passed, outcome.meaning
