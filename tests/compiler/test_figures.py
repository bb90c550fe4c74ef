"""Figures against arithmetic by hand."""

import numpy as np

from bitsmith.figures import layers
from bitsmith.ir.bounds import bounds
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import Conv, IntegerGraph, Linear, Requantize, Reshape, Table, Value
from bitsmith.ir.integer import Function as RealFunction

INT8 = Format(IntegerType(8), (0.1,), 3)
STEP = Requantize(np.array([1 << 30]), 40, 3, -128, 127)


def test_a_small_graph_by_hand() -> None:
    int4 = Format(IntegerType(4), (0.1,))
    shapes = {"x": (4, 5, 5), "a": (6, 5, 5), "b": (6, 5, 5), "c": (150,), "y": (3,)}
    # Two groups of 2 inputs and 3 outputs each, 3x3: 6 * 2 * 9 = 108 weights.
    conv = Conv("conv", ("x",), "a", np.ones((6, 2, 3, 3)), np.full(6, -7), INT8, (1, 1), (1, 1, 1, 1), (1, 1), 2, STEP)
    table = Table("table", ("a",), "b", np.zeros((1, 256), np.int8), RealFunction("Tanh"))
    # 3 * 150 = 450 weights of 4 bits: 225 bytes.
    linear = Linear("linear", ("c",), "y", np.full((3, 150), -2), np.zeros(3), int4, STEP)
    graph = IntegerGraph(
        "g",
        {name: Value(name, shape, INT8) for name, shape in shapes.items()},
        ("x",),
        ("y",),
        (conv, table, Reshape("flatten", ("b",), "c"), linear),
    )
    found = {layer.name: layer for layer in layers(graph, bounds(graph))}

    assert [found[name].macs for name in ("conv", "table", "flatten", "linear")] == [6 * 25 * 18, 0, 0, 450]
    assert [found[name].weight_bits for name in ("conv", "table", "linear")] == [8, None, 4]
    assert [found[name].weight_bytes for name in ("conv", "table", "linear")] == [108, 0, 225]
    # Biases and one multiplier of 4 bytes each; a table of 256 bytes.
    assert found["conv"].parameter_bytes == 108 + 4 * 6 + 4
    assert found["table"].parameter_bytes == 256
    assert found["linear"].parameter_bytes == 225 + 4 * 3 + 4
    # |x - 3| is at most 131, times 18 weights of 1, and a bias of 7.
    assert found["conv"].accumulator == 131 * 18 + 7
    assert found["conv"].accumulator_bits == 13
    assert found["flatten"].accumulator_bits is None
