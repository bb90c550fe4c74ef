"""The interpreter, held to arithmetic by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.errors import DataError, UnsupportedError
from bitsmith.execution.batches import batch_size, in_batches, vectors
from bitsmith.execution.interpreter import run, run_batched
from bitsmith.execution.sums import accumulate
from bitsmith.ir.bounds import bounds
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import Add, AveragePool, Conv, IntegerGraph, Linear, Mul, Operation, Requantize, Reshape, Value
from tests.compiler.execution.by_hand import run_by_hand
from tests.strategies import KINDS, integer_graphs

INT8, INT16, INT32 = IntegerType(8), IntegerType(16), IntegerType(32)
LARGEST = 2**31 - 1


def graph_of(operation: Operation, *values: Value, constants: dict[str, np.ndarray] | None = None) -> IntegerGraph:
    """A graph of one operation, over values that are inputs, then the result."""
    known = constants or {}
    inputs = tuple(value.name for value in values[:-1] if value.name not in known)
    named = {value.name: value for value in values}
    return IntegerGraph("one", named, inputs, (operation.output,), (operation,), known)


def linear(weights: object, bias: object, rule: Requantize, x: Format, y: Format) -> IntegerGraph:
    weight = np.array(weights)
    operation = Linear("linear", ("x",), "y", weight, np.array(bias), Format(INT8, (1.0,)), rule)
    return graph_of(operation, Value("x", weight.shape[1:], x), Value("y", weight.shape[:1], y))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_each_operation_equals_arithmetic_by_hand(kind: str, data: st.DataObject) -> None:
    graph = data.draw(integer_graphs(kinds=(kind,), most=1))
    inputs = vectors(graph, 6, seed=data.draw(st.integers(0, 100)))
    made, expected = run(graph, inputs, keep=True), run_by_hand(graph, inputs)
    assert list(made) == list(expected)
    for name, array in expected.items():
        assert made[name].dtype == array.dtype == graph.values[name].format.type.storage
        np.testing.assert_array_equal(made[name], array, err_msg=name)


@given(graph=integer_graphs(KINDS, most=6))
def test_whole_graphs_equal_arithmetic_by_hand(graph: IntegerGraph) -> None:
    inputs = vectors(graph, 5, seed=0)
    made, expected = run(graph, inputs, keep=True), run_by_hand(graph, inputs)
    assert {name: array.tolist() for name, array in made.items()} == {
        name: array.tolist() for name, array in expected.items()
    }


@given(graph=integer_graphs(KINDS, most=6))
def test_static_bounds_hold(graph: IntegerGraph) -> None:
    found = bounds(graph)
    values = {**graph.constants, **run(graph, vectors(graph, 12, seed=1), keep=True)}
    for name, array in values.items():
        assert found.values[name].lowest <= array.min()
        assert array.max() <= found.values[name].highest
    for operation in graph:
        if operation.name in found.accumulators:
            centred = [
                values[value.name].astype(np.int64) - value.format.zero_point for value in graph.operands(operation)
            ]
            largest = np.abs(accumulate(operation, centred)).max()
            assert largest <= found.accumulators[operation.name]


@pytest.mark.parametrize(
    ("accumulator", "multiplier", "shift", "expected"),
    [
        (0, 1, 1, 0),
        # Halves go up, towards positive infinity: 0.5, 1.5, 2.5, and below zero -0.5, -1.5, -2.5.
        (1, 1, 1, 1),
        (3, 1, 1, 2),
        (5, 1, 1, 3),
        (-1, 1, 1, 0),
        (-3, 1, 1, -1),
        (-5, 1, 1, -2),
        # A quarter off a half, on either side.
        (5, 1, 2, 1),
        (7, 1, 2, 2),
        (-5, 1, 2, -1),
        (-6, 1, 2, -1),
        (-7, 1, 2, -2),
        # Rounded once: 0.4999 does not become 0.5 on the way.
        (2**30 - 1, 1, 31, 0),
        (2**30, 1, 31, 1),
        # The ends of every factor.
        (LARGEST, LARGEST, 62, 1),
        (-LARGEST, LARGEST, 62, -1),
        (LARGEST, LARGEST, 31, LARGEST - 1),
        (-LARGEST, LARGEST, 31, 1 - LARGEST),
        (LARGEST, 1, 62, 0),
        (-LARGEST, 1, 62, 0),
        (LARGEST, 1, 1, 2**30),
        (-LARGEST, 1, 1, 1 - 2**30),
    ],
)
def test_requantize_rounds_half_up_once(accumulator: int, multiplier: int, shift: int, expected: int) -> None:
    rule = Requantize(np.array([multiplier]), shift, 0, INT32.lowest, INT32.highest)
    graph = linear([[0]], [accumulator], rule, Format(INT8, (1.0,)), Format(INT32, (1.0,)))
    assert run(graph, {"x": np.zeros((1, 1), np.int8)})["y"].tolist() == [[expected]]


@pytest.mark.parametrize(
    ("accumulator", "expected"), [(-400, -10), (-22, -10), (-20, -10), (-18, -9), (0, 0), (40, 20), (44, 22), (400, 22)]
)
def test_requantize_clamps_after_the_zero_point(accumulator: int, expected: int) -> None:
    # 0.5 * acc - 3 + 3: the accumulator's bias undoes the zero point, so that the clamp is seen alone.
    rule = Requantize(np.array([1 << 30]), 31, 3, -10, 22)
    graph = linear([[0]], [accumulator - 6], rule, Format(INT8, (1.0,)), Format(INT8, (1.0,), 3))
    assert run(graph, {"x": np.zeros((1, 1), np.int8)})["y"].tolist() == [[expected]]


def test_sums_beyond_float32_are_exact() -> None:
    # 128 * 255 * 4,000 and some is 27 bits: float32 would round each sum to a multiple of 8.
    random = np.random.default_rng(0)
    weight = random.integers(-128, 127, (3, 4000), endpoint=True)
    weight[0], weight[1] = 127, -128
    x = random.integers(-128, 127, (4, 4000), endpoint=True)
    x[0], x[1] = 127, np.resize([127, 126], 4000)
    rule = Requantize(np.array([2]), 1, 0, INT32.lowest, INT32.highest)
    graph = linear(weight, [1, 0, -1], rule, Format(INT8, (1.0,), -128), Format(INT32, (1.0,)))
    assert bounds(graph).accumulators["linear"] > 2**24
    expected = (x + 128) @ weight.T + np.array([1, 0, -1])
    np.testing.assert_array_equal(run(graph, {"x": x.astype(np.int8)})["y"], expected)


def test_sums_beyond_float64_are_exact() -> None:
    kind = Format(INT16, (1.0,))
    rule = Requantize(np.array([1]), 1, 0, INT32.lowest, INT32.highest)
    values = Value("a", (1,), kind), Value("b", (1,), kind), Value("y", (1,), Format(INT32, (1.0,)))
    # The terms are 60 bits long and cancel but for the last few.
    graph = graph_of(Add("add", ("a", "b"), "y", (2**45 + 1, -(2**45)), rule), *values)
    assert bounds(graph).accumulators["add"] > 2**53
    inputs = {name: np.array([[32767], [32766], [-32767]], np.int16) for name in ("a", "b")}
    assert run(graph, inputs)["y"].tolist() == [[16384], [16383], [-16383]]


def test_an_accumulator_that_can_overflow_is_refused_by_name() -> None:
    rule = Requantize(np.array([1]), 1, 0, -128, 127)
    graph = linear([[127]], [LARGEST], rule, Format(INT8, (1.0,)), Format(INT8, (1.0,)))
    with pytest.raises(UnsupportedError, match="Linear linear: the accumulator can reach"):
        run(graph, {"x": np.zeros((1, 1), np.int8)})


def test_a_constant_operand_broadcasts_against_every_sample() -> None:
    format = Format(INT8, (1.0,))
    rule = Requantize(np.array([2]), 1, 0, -128, 127)
    values = Value("x", (2, 3), format), Value("c", (2, 1), format), Value("y", (2, 3), format)
    constants = {"c": np.array([[2], [-3]], np.int8)}
    graph = graph_of(Mul("mul", ("x", "c"), "y", rule), *values, constants=constants)
    x = np.array([[[1, 2, 3], [4, 5, 6]], [[0, 1, 0], [1, 0, 1]]], np.int8)
    assert run(graph, {"x": x})["y"].tolist() == [[[2, 4, 6], [-12, -15, -18]], [[0, 2, 0], [-3, 0, -3]]]


def test_an_average_may_count_another_number_at_each_position() -> None:
    # Mean of 2 over a line of 3 padded by 1 on each side, padding not counted: halves, but whole at the ends.
    format = Format(INT8, (1.0,))
    rule = Requantize(np.array([[4, 2, 2, 4]]), 2, 0, -128, 127)
    pool = AveragePool("pool", ("x",), "y", (2,), (1,), (1, 1), (1,), rule)
    graph = graph_of(pool, Value("x", (1, 3), format), Value("y", (1, 4), format))
    assert run(graph, {"x": np.array([[[3, 4, -9]]], np.int8)})["y"].tolist() == [[[3, 4, -2, -9]]]


def test_padding_contributes_nothing_whatever_the_zero_point() -> None:
    rule = Requantize(np.array([2]), 1, 0, INT32.lowest, INT32.highest)
    conv = Conv("conv", ("x",), "y", np.ones((1, 1, 3)), np.zeros(1), Format(INT8, (1.0,)), (1,), (1, 1), (1,), 1, rule)
    values = Value("x", (1, 2), Format(INT8, (1.0,), 100)), Value("y", (1, 2), Format(INT32, (1.0,)))
    assert run(graph_of(conv, *values), {"x": np.array([[[101, 105]]], np.int8)})["y"].tolist() == [[[6, 6]]]


@given(graph=integer_graphs(KINDS, most=4), batch=st.integers(1, 5), samples=st.integers(0, 7))
def test_batches_change_nothing(graph: IntegerGraph, batch: int, samples: int) -> None:
    inputs = vectors(graph, samples, seed=3)
    whole, parts = run(graph, inputs), run_batched(graph, inputs, batch)
    assert list(whole) == list(parts) == list(graph.outputs)
    for name, array in whole.items():
        assert array.shape == (samples, *graph.values[name].shape)
        np.testing.assert_array_equal(parts[name], array)


def test_batches_are_as_large_as_the_largest_value_lets_them() -> None:
    def copy_of(*shape: int) -> IntegerGraph:
        values = {name: Value(name, shape, Format(INT8, (1.0,))) for name in "xy"}
        return IntegerGraph("copy", values, ("x",), ("y",), (Reshape("copy", ("x",), "y"),))

    sizes = [batch_size(copy_of(*shape)) for shape in ((10,), (1 << 17,), (16, 256, 256), (1 << 23,))]
    assert sizes == [16, 16, 2, 1]


def test_in_batches_cuts_every_input_alike() -> None:
    cut = list(in_batches({"a": np.arange(5, dtype=np.int8), "b": np.arange(5, 10, dtype=np.int8)}, 2))
    assert [{name: part.tolist() for name, part in one.items()} for one in cut] == [
        {"a": [0, 1], "b": [5, 6]},
        {"a": [2, 3], "b": [7, 8]},
        {"a": [4], "b": [9]},
    ]


def four_bits() -> IntegerGraph:
    rule = Requantize(np.array([1]), 1, 0, -8, 7)
    return linear([[1, 1]], [0], rule, Format(IntegerType(4), (1.0,), 3), Format(IntegerType(4), (1.0,)))


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({}, "input x: is not given. Give x."),
        ({"x": np.zeros((1, 2), np.int8), "z": np.zeros(1)}, "input z: is no input of the graph. Give x."),
        ({"x": np.zeros((1, 2))}, "input x: is float64 of shape [1, 2]. Give int8 of shape [1, 2]."),
        ({"x": np.zeros((3, 5), np.int8)}, "input x: is int8 of shape [3, 5]. Give int8 of shape [3, 2]."),
        ({"x": np.int8(0)}, "input x: is int8 of shape []. Give int8 of shape [samples, 2]."),
        (
            {"x": np.full((1, 2), 8, np.int8)},
            "input x: holds [8, 8], beyond int4. Quantize it with the format of x.",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(DataError) as refused:
        run(four_bits(), inputs)
    assert str(refused.value) == says


def test_inputs_of_unlike_batches_are_refused() -> None:
    format = Format(INT8, (1.0,))
    values = [Value(name, (1,), format) for name in ("a", "b", "y")]
    graph = graph_of(Add("add", ("a", "b"), "y", (1, 1), Requantize(np.array([1]), 1, 0, -128, 127)), *values)
    with pytest.raises(DataError, match=r"input b: is int8 of shape \[3, 1\]. Give int8 of shape \[2, 1\]"):
        run(graph, {"a": np.zeros((2, 1), np.int8), "b": np.zeros((3, 1), np.int8)})


def test_vectors_try_the_corners_first_and_repeat_for_a_seed() -> None:
    graph = four_bits()
    made = vectors(graph, 200, seed=5)["x"]
    assert made.shape == (200, 2)
    assert made.dtype == np.int8
    assert made[:3].tolist() == [[-8, -8], [7, 7], [3, 3]]
    assert set(made[3].tolist()) <= {-8, 7}
    assert set(made[4:].ravel().tolist()) == set(range(-8, 8))
    np.testing.assert_array_equal(vectors(graph, 200, seed=5)["x"], made)
    assert (vectors(graph, 200, seed=6)["x"] != made).any()
    np.testing.assert_array_equal(vectors(graph, 2, seed=5)["x"], made[:2])
