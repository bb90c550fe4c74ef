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
from bitsmith.backends.c.kernels.dsp.packed import Settled
from bitsmith.backends.c.kernels.dsp.ternary import INPUTS, DspTernaryConv
from bitsmith.backends.c.kernels.mve.ternary import packed
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

TWO_BITS = Format(IntegerType(2, signed=False), (0.5,), 0)

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
    assert stored.description == "ternary weights, five to a byte"
    assert stored.row_length == 5
    assert sum(constant.bytes for constant in stored.constants) == 7 * 5


CASES = side_by_side(
    [
        ternary(graph)
        for graph in (
            conv((5, 4), 16, 8, kernel=1, weight_bits=2),
            conv((4, 3), 2, 20, weight_bits=2),
            conv((4, 5), 4, 16, weight_bits=2),
            conv((5, 4), 1, 3, weight_bits=2),
            strided(conv((9, 8), 6, 8, weight_bits=2), (2, 3), (0, 1, 1, 0)),
            conv((4, 4), 8, 8, groups=2, weight_bits=2),
            conv((6, 5), 6, 6, groups=6, weight_bits=2),
            conv((6, 5), 8, 4, groups=4, weight_bits=2),
            conv((7, 7), 3, 3, groups=3, kernel=6, weight_bits=2),
            strided(conv((9, 8), 5, 5, groups=5, weight_bits=2), (2, 2), (0, 0, 0, 0)),
            linear((3,), 1, weight_bits=2),
            linear((131,), 6, weight_bits=2),
            linear((240,), 4, weight_bits=2),
            linear((3, 2, 8), weight_bits=2),
        )
    ]
)


DSP = ("multiply", "long-multiply", "dsp")
FEATURES = {"plain": ("registers",), "dsp": DSP, "helium": (*DSP, "mve")}


@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
def test_plain_c(features: tuple[str, ...]) -> None:
    assert_equal(CASES, target=replace(HOST, features=features))


@pytest.mark.parametrize("name", TARGETS)
def test_every_machine(name: str) -> None:
    target, machine = machine_of(name)
    outcome = run_program(machine, build(CASES, target), vectors(CASES, 2, seed=5))
    assert outcome.passed, outcome.meaning


@pytest.mark.parametrize(
    ("name", "taken", "others", "beside"),
    [
        ("cortex-m4", "dsp ternary conv", ("dsp paired conv", "dsp narrow conv"), 8),
        ("cortex-m55", "helium ternary conv", ("helium narrow conv", "dsp paired conv"), 12),
        ("rv32e", "conv", ("tables",), 8),
    ],
)
def test_kernels_that_take_fewer_to_a_byte_refuse_them(
    name: str, taken: str, others: tuple[str, ...], beside: int
) -> None:
    """Beside five weights a byte, an output has a bias and a multiplier, and a third number on vectors."""
    (step,) = build(ternary(conv((5, 4), 16, 10, weight_bits=2)), load_target(name)).steps
    assert step.kernel.family == taken
    assert {family.refusal(step.site) for family in FAMILIES if family.name in others} == {trits.CROWDED}
    assert step.kernel.flash == 16 * (9 * 10 // 5 + beside)


AVX2 = {
    "avx2 bytes": [
        conv((5, 4), 16, 8, kernel=1, weight_bits=2),
        conv((1, 1), 2, 33, weight_bits=2),
        conv((9,), 33, 5, weight_bits=2),
        conv((9, 8), 40, 30, weight_bits=2),
        linear((70,), 40, weight_bits=2),
    ],
    "avx2 tables": [
        conv((5, 4), 16, 8, kernel=1, x=TWO_BITS, weight_bits=2),
        conv((4, 4), 40, 16, x=TWO_BITS, weight_bits=2),
        conv((3, 3), 70, 34, x=TWO_BITS, weight_bits=2),
        linear((70,), 40, x=TWO_BITS, weight_bits=2),
    ],
}


@pytest.mark.parametrize("family", AVX2)
def test_blocks_of_them_become_codes_on_avx2(family: str) -> None:
    graph = side_by_side([ternary(one) for one in AVX2[family]])
    program = assert_equal(graph, target=load_target("x86-64-avx2"))
    assert {step.kernel.family for step in program.steps} == {family}
    packed = sum(step.kernel.constants[0].bytes for step in program.steps)
    plain = build(side_by_side(AVX2[family]), load_target("x86-64-avx2"))
    assert packed < sum(step.kernel.constants[0].bytes for step in plain.steps)


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("cortex-m4", {"dsp ternary conv", "dsp ternary linear", "dsp depthwise"}),
        ("cortex-m55", {"helium ternary conv", "dsp ternary conv", "helium ternary linear", "helium depthwise"}),
    ],
)
def test_vectors_have_kernels_of_their_own_for_them(name: str, kernels: set[str]) -> None:
    families = {step.kernel.family for step in build(CASES, load_target(name)).steps}
    assert families == kernels | {"depthwise", "grouped conv", "linear"}


def test_vectors_hold_a_weight_of_each_of_five_runs() -> None:
    rows = np.random.default_rng(2).integers(-1, 2, (3, 200))
    packing, constant = packed(rows, 4)
    # Two vectors of eighty weights, and eight bytes for forty more.
    assert (packing.whole, packing.left, packing.lanes, packing.row) == (2, 40, 8, 40)
    assert constant.data.shape == (4, 40)
    for row, stored in zip([*rows.tolist(), [0] * 200], constant.data.astype(np.uint8), strict=True):
        held: list[int] = []
        for part in (stored[:16], stored[16:32], stored[32:]):
            held += np.array(decoded(part.tobytes())).reshape(-1, 5).T.reshape(-1).tolist()
        assert held == row


def test_what_a_tile_reads_is_starts_weights_and_multipliers_the_last_output_first() -> None:
    rows = np.random.default_rng(3).integers(-1, 2, (3, 14))
    settled = Settled(rows, np.array([-70000, 5, 1 << 20]), np.array([1 << 30, 7, 1 << 16]))
    stream = DspTernaryConv().stream(settled)
    for row, bias, multiplier, read in zip(
        rows[::-1], settled.bias[::-1], settled.multiplier[::-1], stream.reshape(3, -1), strict=True
    ):
        words = read.astype("<u2").view("<u4")
        assert words[[0, -1]].tolist() == [(int(bias) - 128 * int(row.sum())) % (1 << 32), multiplier]
        held = np.array([decoded(group.tobytes()) for group in read[2:-2].astype("<u2")])
        assert held[:, np.argsort(INPUTS)].reshape(-1).tolist() == [*row, *[0] * 6]


@pytest.mark.parametrize("graph", [linear((70,), 4, weight_bits=2), conv((1, 3), 4, 70, kernel=1, weight_bits=2)])
def test_the_ends_of_all_sums(graph: IntegerGraph) -> None:
    """Weights and inputs whose products are as large as they get, of one sign and of both."""
    rows = np.stack([np.resize(pattern, 70) for pattern in ([1], [-1], [1, -1, 0], [0, 0, 0, 0, 1])])
    graph = ternary(graph)
    (operation,) = graph.operations
    assert isinstance(operation, Conv | Linear)
    weight = rows[: len(operation.weight)].reshape(operation.weight.shape).astype(operation.weight.dtype)
    graph = replace(graph, operations=(replace(operation, weight=weight),))
    pattern = np.array([[127] * 70, [-128] * 70, [-128, 127] * 35], np.int8)
    inputs = {"x": np.stack([np.resize(row, graph.values["x"].shape[::-1]).T for row in pattern])}
    for name in ("cortex-m4", "cortex-m55"):
        target, machine = machine_of(name)
        assert_equal(graph, inputs, target=replace(HOST, features=target.features))
        outcome = run_program(machine, build(graph, target), inputs)
        assert outcome.passed, outcome.meaning


def test_they_cost_no_more_than_they_should() -> None:
    """A convolution at most 1.6 of the instructions of 2 bits, for less flash."""
    target, machine = machine_of("cortex-m4")
    wide = conv((8, 8), 16, 16, weight_bits=2)
    totals, sizes = [], []
    for graph in (wide, ternary(wide)):
        program = build(graph, target)
        outcome = run_program(machine, program, vectors(graph, 1, seed=5), count=True)
        assert outcome.passed, outcome.meaning
        assert outcome.counts is not None
        totals.append(outcome.counts.total)
        sizes.append(program.flash)
    assert totals[1] <= 1.6 * totals[0]
    assert sizes[1] < 0.85 * sizes[0]
