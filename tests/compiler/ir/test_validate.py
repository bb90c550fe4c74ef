"""Each rule of an integer graph, by a graph that breaks it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from bitsmith.errors import InternalError
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.grids import TERNARY, Grouped, offset
from bitsmith.ir.integer import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Function,
    HostOperation,
    IntegerGraph,
    InterpolatedTable,
    LayerNorm,
    Linear,
    MatMul,
    MaxPool,
    Mul,
    Operation,
    Pad,
    Requantize,
    Reshape,
    Resize,
    Shape,
    Slice,
    Softmax,
    Table,
    Thresholds,
    Transpose,
    Value,
)
from bitsmith.ir.shapes import output_shape
from bitsmith.ir.softmax import exponentials
from bitsmith.ir.validate import validate
from tests.strategies import KINDS, integer_graphs

INT8 = Format(IntegerType(8), (1.0,))
OTHER = Format(IntegerType(8), (2.0,))
RULE = Requantize(np.array([1]), 8, 0, -128, 127)


def graph_of(operation: Operation, result: Shape, *operands: Shape, **changes: Any) -> IntegerGraph:
    """A graph of one operation, over values of int8 of these shapes."""
    names = [*dict.fromkeys(operation.inputs)]
    values = {name: Value(name, shape, INT8) for name, shape in zip(names, operands, strict=True)}
    values["y"] = Value("y", result, INT8)
    return IntegerGraph("g", values, tuple(names), ("y",), (operation,), **changes)


def conv(**changes: Any) -> Conv:
    """From (4, 6, 6) to (2, 6, 6)."""
    whole = Conv(
        "conv",
        ("x",),
        "y",
        weight=np.ones((2, 2, 3, 3)),
        bias=np.zeros(2),
        weight_format=INT8,
        strides=(1, 1),
        pads=(1, 1, 1, 1),
        dilations=(1, 1),
        groups=2,
        requantize=RULE,
    )
    return dataclasses.replace(whole, **changes)


def linear(**changes: Any) -> Linear:
    """From (3,) to (2,)."""
    return dataclasses.replace(Linear("fc", ("x",), "y", np.ones((2, 3)), np.zeros(2), INT8, RULE), **changes)


def max_pool(**changes: Any) -> MaxPool:
    """From (1, 4) to (1, 4)."""
    return dataclasses.replace(MaxPool("pool", ("x",), "y", (3,), (1,), (1, 1), (1,)), **changes)


def table(entries: Shape, dtype: str = "int8") -> Table:
    return Table("table", ("x",), "y", np.zeros(entries, dtype), Function("Relu"))


def interpolated(**changes: Any) -> InterpolatedTable:
    """Of int8: two segments of a knot every 128 inputs, or changed."""
    rule = np.zeros((1, 3)), np.array([0, 1]), np.array([7, 7]), 7, -128, 127
    return dataclasses.replace(InterpolatedTable("table", ("x",), "y", *rule, Function("Relu")), **changes)


def multiplier(*shape: int) -> Requantize:
    return dataclasses.replace(RULE, multiplier=np.ones(shape))


def product(**changes: Any) -> MatMul:
    """From (2, 3) and (3, 4) to (2, 4)."""
    return dataclasses.replace(MatMul("product", ("a", "b"), "y", RULE), **changes)


def layer_norm(**changes: Any) -> LayerNorm:
    """A layer normalisation of rows of 5."""
    rule = Requantize(np.array([1]), 40, 0, -128, 127)
    whole = LayerNorm("norm", ("x",), "y", np.full(5, 1 << 20), np.zeros(5), 25, 3, 28, rule)
    return dataclasses.replace(whole, **changes)


def softmax(**changes: Any) -> Softmax:
    """From (3, 5) to (3, 5)."""
    whole = Softmax("softmax", ("x",), "y", *exponentials(1.0, 8, 5), RULE)
    return dataclasses.replace(whole, **changes)


IMAGE, LINE = ((2, 6, 6), (4, 6, 6)), ((2,), (3,))

GRAPHS: dict[str, IntegerGraph] = {
    "conv": graph_of(conv(), *IMAGE),
    "conv, a multiplier a channel": graph_of(conv(requantize=multiplier(2, 1, 1)), *IMAGE),
    "linear": graph_of(linear(), *LINE),
    "max pool": graph_of(max_pool(), (1, 4), (1, 4)),
    "table": graph_of(table((3, 256)), (3, 2), (3, 2)),
    "product": graph_of(product(), (2, 4), (2, 3), (3, 4)),
    "softmax": graph_of(softmax(), (3, 5), (3, 5)),
    "layer normalisation": graph_of(layer_norm(), (3, 5), (3, 5)),
    "add": graph_of(Add("add", ("a", "b"), "y", (1, -1), RULE), (3, 2), (3, 1), (1, 2)),
}

BROKEN: dict[str, tuple[IntegerGraph, str]] = {
    "matrices that do not go together": (
        graph_of(product(), (2, 4), (2, 3), (4, 4)),
        "product: multiplies [2, 3] by [4, 4]",
    ),
    "a product with a multiplier a column": (
        graph_of(product(requantize=multiplier(4)), (2, 4), (2, 3), (3, 4)),
        "MatMul product: has several multipliers, or caps",
    ),
    "levels of what is not in powers": (
        graph_of(product(levels=np.zeros(256)), (2, 4), (2, 3), (3, 4)),
        "MatMul product: reads a in another format than its levels say",
    ),
    "thresholds to what is not in powers": (
        graph_of(softmax(requantize=Thresholds(np.arange(15, 0, -1))), (3, 5), (3, 5)),
        "Softmax softmax: makes y in another format than its thresholds say",
    ),
    "tables of another width": (
        graph_of(softmax(coarse=np.ones(16)), (3, 5), (3, 5)),
        "Softmax softmax: has tables of 16 and 1 entries for int8",
    ),
    "tables that rise": (
        graph_of(softmax(coarse=np.arange(1, 257)), (3, 5), (3, 5)),
        "Softmax softmax: has tables that rise",
    ),
    "tables that hold nothing": (
        graph_of(softmax(coarse=np.zeros(256)), (3, 5), (3, 5)),
        "Softmax softmax: gives the largest element nothing",
    ),
    "a gain too many": (
        graph_of(layer_norm(gain=np.ones(6)), (3, 5), (3, 5)),
        "LayerNorm norm: has gains of shape [6] for rows of 5",
    ),
    "a normalisation of nothing": (graph_of(layer_norm(), (), ()), "LayerNorm norm: has no axis to normalise over"),
    "bits that rows of 5 do not leave": (
        graph_of(layer_norm(fraction=30), (3, 5), (3, 5)),
        "LayerNorm norm: has 30 bits behind the point, for rows of 5",
    ),
    "a gain of 33 bits": (
        graph_of(layer_norm(gain=np.full(5, 1 << 32)), (3, 5), (3, 5)),
        "LayerNorm norm: has gains that 32 bits do not hold",
    ),
    "a normalisation that is too fine": (
        graph_of(layer_norm(finer=9), (3, 5), (3, 5)),
        "LayerNorm norm: is finer by 9 bits",
    ),
    "an epsilon of 0": (
        graph_of(layer_norm(epsilon=0), (3, 5), (3, 5)),
        "LayerNorm norm: may divide by 0: its epsilon is below 1",
    ),
    "a normalisation that is scaled": (
        graph_of(layer_norm(requantize=Requantize(np.array([3]), 40, 0, -128, 127)), (3, 5), (3, 5)),
        "LayerNorm norm: requantizes by a multiplier other than 1",
    ),
    "a normalisation of several multipliers": (
        graph_of(layer_norm(requantize=Requantize(np.ones(5), 40, 0, -128, 127)), (3, 5), (3, 5)),
        "LayerNorm norm: has several multipliers, or caps",
    ),
    "a kernel of another rank": (
        graph_of(conv(), (2, 6), (4, 6)),
        "Conv conv: convolves [4, 6] with a kernel of shape [2, 2, 3, 3]",
    ),
    "three spatial axes": (
        graph_of(conv(weight=np.ones((2, 2, 1, 1, 1))), (2, 6, 6, 6), (4, 6, 6, 6)),
        "Conv conv: convolves",
    ),
    "too few strides": (graph_of(conv(strides=(1,)), *IMAGE), "Conv conv: has a kernel, strides, pads or dilations"),
    "a stride of 0": (graph_of(conv(strides=(1, 0)), *IMAGE), "Conv conv: has a kernel, stride or dilation below 1"),
    "a negative pad": (graph_of(conv(pads=(1, 1, 1, -1)), *IMAGE), "or a pad below 0"),
    "other channels": (graph_of(conv(), (2, 6, 6), (5, 6, 6)), "2 groups of 2 channels do not make up 5"),
    "outputs that do not divide": (
        graph_of(conv(weight=np.ones((3, 2, 3, 3)), bias=np.zeros(3)), (3, 6, 6), (4, 6, 6)),
        "3 outputs cannot be shared out to 2 groups",
    ),
    "a wide weight": (
        graph_of(conv(weight=np.full((2, 2, 3, 3), 8), weight_format=Format(IntegerType(4), (1.0,))), *IMAGE),
        "Conv conv: its weight holds [8, 8], beyond int4",
    ),
    "a weight off zero": (
        graph_of(linear(weight_format=Format(IntegerType(8), (1.0,), 1)), *LINE),
        "Linear fc: its weight has the zero point 1",
    ),
    "a short bias": (graph_of(linear(bias=np.zeros(1)), *LINE), "has a bias of shape [1] for 2 outputs"),
    "a weight off its grid": (
        graph_of(linear(weight=np.full((2, 3), 2), weight_format=Format(IntegerType(3), (1.0,), grid=TERNARY)), *LINE),
        "Linear fc: has weights that are not on their ternary grid",
    ),
    "rows for other outputs": (
        graph_of(conv(weight_format=Format(IntegerType(3), (1.0,) * 3, axis=0, grid=offset(2, (True,) * 3))), *IMAGE),
        "Conv conv: has 3 weight scales along axis 0 for 2 outputs",
    ),
    "groups for other inputs": (
        graph_of(
            linear(weight_format=Format(IntegerType(5), (1.0,) * 2, axis=0, grid=Grouped(3, 2, ((1,), (2,))))), *LINE
        ),
        "Linear fc: has a grid for other than its 2 outputs of 3 inputs",
    ),
    "a weight that is no multiple": (
        graph_of(
            linear(weight_format=Format(IntegerType(5), (1.0,) * 2, axis=0, grid=Grouped(3, 2, ((1, 2), (1, 1))))),
            *LINE,
        ),
        "Linear fc: has weights that are not on their group grid",
    ),
    "other features": (graph_of(linear(), (2,), (4,)), "multiplies [4] by a weight of shape [2, 3]"),
    "another shape": (graph_of(linear(), (1,), (3,)), "makes shape [2], but y is described as [1]"),
    "a smaller image": (graph_of(conv(pads=(0, 0, 0, 0)), *IMAGE), "makes shape [2, 4, 4], but y is described as"),
    "another zero point": (
        graph_of(linear(requantize=dataclasses.replace(RULE, zero_point=1)), *LINE),
        "requantizes to zero point 1, not 0",
    ),
    "a wide clamp": (
        graph_of(linear(requantize=dataclasses.replace(RULE, highest=128)), *LINE),
        "clamps to [-128, 128], beyond int8",
    ),
    "long caps": (
        graph_of(linear(requantize=dataclasses.replace(RULE, caps=np.array([1, 2, 3]))), *LINE),
        "caps of shape [3] does not broadcast to [2]",
    ),
    "caps by row": (
        graph_of(linear(requantize=dataclasses.replace(RULE, caps=np.array([[1, 2]]))), (5, 2), (5, 3)),
        "has caps of shape [1, 2], not one per output",
    ),
    "a long multiplier": (
        graph_of(linear(requantize=multiplier(3)), *LINE),
        "a multiplier of shape [3] does not broadcast to [2]",
    ),
    "a multiplier that would broadcast the result": (
        graph_of(linear(requantize=multiplier(4, 2)), *LINE),
        "a multiplier of shape [4, 2] does not broadcast to [2]",
    ),
    "one operand": (graph_of(Add("add", ("x",), "y", (1, 1), RULE), (1,), (1,)), "Add add: has 1 operands"),
    "two operands": (graph_of(linear(inputs=("x", "z")), (2,), (3,), (3,)), "Linear fc: has 2 operands"),
    "a multiplier of 0": (
        graph_of(Add("add", ("a", "b"), "y", (1, 0), RULE), (1,), (1,), (1,)),
        "Add add: has the multipliers (1, 0)",
    ),
    "an Add that multiplies": (
        graph_of(Add("add", ("a", "b"), "y", (1, 1), Requantize(np.array([2]), 1, 0, 0, 1)), (1,), (1,), (1,)),
        "Add add: requantizes by a multiplier other than 1",
    ),
    "operands that do not broadcast": (
        graph_of(Mul("mul", ("a", "b"), "y", RULE), (3,), (3,), (2,)),
        "operands of shapes [3] and [2] do not broadcast",
    ),
    "operands of unlike ranks": (
        graph_of(Mul("mul", ("a", "b"), "y", RULE), (2, 3), (2, 3), (3,)),
        "b and y differ in rank, so their batches would not line up",
    ),
    "a pool of features": (graph_of(max_pool(), (4,), (4,)), "MaxPool pool: has 0 spatial axes, not 1 or 2"),
    "pads as wide as the kernel": (
        graph_of(max_pool(pads=(3, 0)), (1, 5), (1, 4)),
        "pads by 3, not less than its kernel's 3",
    ),
    "taps that step over x": (
        graph_of(max_pool(kernel=(2,), pads=(1, 1), dilations=(2,)), (1, 1), (1, 1)),
        "pads, and steps over all 1 elements of an axis",
    ),
    "a short average": (
        graph_of(AveragePool("pool", ("x",), "y", (2,), (1,), (0,), (1,), RULE), (1, 3), (1, 4)),
        "AveragePool pool: has a kernel, strides, pads or dilations",
    ),
    "a short table": (graph_of(table((1, 255)), (3,), (3,)), "has entries of shape [1, 255] for int8 of shape [3]"),
    "too few rows": (graph_of(table((2, 256)), (3,), (3,)), "has entries of shape [2, 256]"),
    "a row too many": (graph_of(interpolated(knots=np.zeros((2, 3))), (3,), (3,)), "has knots of shape [2, 3] for [3]"),
    "too few segments": (
        graph_of(interpolated(starts=np.array([0]), places=np.array([7])), (3,), (3,)),
        "has 1 segments of 2^7 inputs for int8",
    ),
    "knots wider apart than a segment": (
        graph_of(interpolated(places=np.array([7, 8])), (3,), (3,)),
        "has segments without a spacing of their knots, or one wider than the segment",
    ),
    "a segment that ends past its knots": (
        graph_of(interpolated(places=np.array([7, 6])), (3,), (3,)),
        "has segments that read beyond its knots",
    ),
    "knots that int32 cannot interpolate": (
        graph_of(interpolated(knots=np.full((1, 3), 1 << 22)), (3,), (3,)),
        "has knots beyond 2,097,152",
    ),
    "a clamp beyond the result": (
        graph_of(interpolated(highest=128), (3,), (3,)),
        "InterpolatedTable table: clamps to [-128, 128], beyond int8",
    ),
    "entries of another type": (
        graph_of(table((1, 256), "int16"), (3,), (3,)),
        "Table table: its table is stored as int16, not int8",
    ),
    "an axis too far": (
        graph_of(Concat("cat", ("a", "b"), "y", 1), (2,), (1,), (1,)),
        "an axis beyond them",
    ),
    "parts that differ": (
        graph_of(Concat("cat", ("a", "b"), "y", 0), (2, 2), (1, 2), (1, 3)),
        "operands that differ off axis 0",
    ),
    "an axis twice": (
        graph_of(Transpose("turn", ("x",), "y", (0, 0)), (2, 2), (2, 2)),
        "permutes the axes of [2, 2] by (0, 0)",
    ),
    "lost elements": (graph_of(Reshape("view", ("x",), "y"), (5,), (2, 3)), "gives [2, 3] the shape [5]"),
    "a slice of other rank": (
        graph_of(Slice("cut", ("x",), "y", (0,), (1,)), (1, 2), (1, 2)),
        "slices [1, 2] to [1, 2] along 1 axes",
    ),
    "a slice beyond the end": (
        graph_of(Slice("cut", ("x",), "y", (1,), (2,)), (2,), (3,)),
        "takes 2 elements from 1 in steps of 2 off an axis of 3",
    ),
    "a step of 0": (graph_of(Slice("cut", ("x",), "y", (1,), (0,)), (2,), (3,)), "in steps of 0"),
    "a pad of other rank": (graph_of(Pad("pad", ("x",), "y", (1,), 0), (2,), (1,)), "has the pads (1,)"),
    "a filler too large": (
        graph_of(Pad("pad", ("x",), "y", (1, 0), 128), (2,), (1,)),
        "pads with 128, outside int8",
    ),
    "indices of other rank": (
        graph_of(Resize("up", ("x",), "y", ((0,), (0,))), (1,), (1,)),
        "has indices for 2 axes of 1",
    ),
    "an index too far": (graph_of(Resize("up", ("x",), "y", ((0, 1),)), (2,), (1,)), "reads beyond an axis of 1"),
    "an output that is an input": (
        dataclasses.replace(GRAPHS["linear"], outputs=("y", "x")),
        "g: output x is not made by an operation",
    ),
    "an output twice": (dataclasses.replace(GRAPHS["linear"], outputs=("y", "y")), "two outputs are named 'y'"),
    "no outputs": (dataclasses.replace(GRAPHS["linear"], outputs=()), "without inputs or without outputs"),
    "a host op elsewhere": (
        dataclasses.replace(GRAPHS["linear"], host=(HostOperation("x", "Softmax"),)),
        "Softmax is left to the host on x, which is not an output",
    ),
}


def with_values(graph: IntegerGraph, **values: Value) -> IntegerGraph:
    return dataclasses.replace(graph, values={**graph.values, **values})


def with_constant(name: str, constant: Any) -> Callable[[IntegerGraph], IntegerGraph]:
    """The graph with one of its inputs made a constant."""

    def change(graph: IntegerGraph) -> IntegerGraph:
        inputs = tuple(one for one in graph.inputs if one != name)
        return dataclasses.replace(graph, inputs=inputs, constants={name: constant})

    return change


CHANGED: Mapping[str, tuple[IntegerGraph, str]] = {
    "another format": (
        with_values(GRAPHS["max pool"], y=Value("y", (1, 4), OTHER)),
        "MaxPool pool: x and y are in different formats",
    ),
    "a value under another's name": (with_values(GRAPHS["linear"], x=Value("y", (3,), INT8)), "is filed under 'x'"),
    "an empty value": (with_values(GRAPHS["linear"], x=Value("x", (0,), INT8)), "value x has the shape [0]"),
    "a constant of another shape": (
        with_constant("b", np.zeros((1, 3), np.int8))(GRAPHS["add"]),
        "constant b is of shape [1, 3], described as [1, 2]",
    ),
    "a constant of another type": (
        with_constant("b", np.zeros((1, 2), np.int64))(GRAPHS["add"]),
        "constant b is stored as int64, not int8",
    ),
    "a constant that is an input too": (
        dataclasses.replace(GRAPHS["add"], constants={"b": np.zeros((1, 2), np.int8)}),
        "b is both an input and a constant",
    ),
    "a constant under Concat": (
        with_constant("b", np.zeros(1, np.int8))(graph_of(Concat("cat", ("a", "b"), "y", 0), (2,), (1,), (1,))),
        "Concat cat: reads a constant: only Add and Mul may",
    ),
    "a table of wide integers": (
        with_values(GRAPHS["table"], x=Value("x", (3, 2), Format(IntegerType(17), (1.0,)))),
        "Table table: tabulates int17, more than 16 bits",
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_that_keep_the_rules(name: str) -> None:
    validate(GRAPHS[name])


@pytest.mark.parametrize("name", [*BROKEN, *CHANGED])
def test_graphs_that_break_a_rule_name_it_and_the_operation(name: str) -> None:
    graph, says = {**BROKEN, **CHANGED}[name]
    with pytest.raises(InternalError) as broken:
        validate(graph)
    assert says in str(broken.value)


def test_a_constant_may_be_added_but_not_to_another() -> None:
    constants = {"a": np.zeros((3, 1), np.int8), "b": np.zeros((1, 2), np.int8)}
    values = {**GRAPHS["add"].values, "a": Value("a", (3, 2), INT8), "x": Value("x", (1,), INT8)}
    graph = dataclasses.replace(GRAPHS["add"], values=values)
    validate(dataclasses.replace(graph, inputs=("a",), constants={"b": constants["b"]}))
    values["a"] = Value("a", (3, 1), INT8)
    alone = dataclasses.replace(graph, values=values, inputs=("x",), constants=constants)
    with pytest.raises(InternalError, match="Add add: reads constants alone"):
        validate(alone)


def test_two_operations_of_one_name_are_refused() -> None:
    pools = tuple(dataclasses.replace(max_pool(), output=name) for name in ("y", "z"))
    values = {name: Value(name, (1, 4), INT8) for name in ("x", "y", "z")}
    with pytest.raises(InternalError, match="g: two operations are named 'pool'"):
        validate(IntegerGraph("g", values, ("x",), ("y", "z"), pools))


def test_an_operation_without_a_rule_is_refused() -> None:
    with pytest.raises(InternalError, match="new: no rule gives the shape of a Operation"):
        output_shape(Operation("new", ("x",), "y"), [(1,)], (1,))


@given(graph=integer_graphs(KINDS))
def test_random_graphs_keep_the_rules(graph: IntegerGraph) -> None:
    validate(graph)
