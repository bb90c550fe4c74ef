"""Networks so deep that da4ml's units drift far from those of their integers."""

from __future__ import annotations

import numpy as np
import pytest

from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import IntegerGraph, Linear, Operation, Requantize, Value
from tests.backends.rtl.agreement import assert_equal


def chain(depth: int, shift: int, signed: bool) -> IntegerGraph:
    """Layers one after the other, each of which shifts by so many bits and saturates."""
    random = np.random.default_rng(depth)
    kind = IntegerType(4, signed)
    format = Format(kind, (1.0,))
    weight_format = Format(IntegerType(shift + 3), (1.0,))
    values = {"x": Value("x", (3,), format)}
    operations: list[Operation] = []
    last = "x"
    for layer in range(depth):
        largest = weight_format.type.highest
        weight = random.integers(-largest, largest, (3, 3), endpoint=True)
        rule = Requantize(np.array([1]), shift, 0, kind.lowest, kind.highest)
        made = f"y{layer}"
        bias = np.full(3, 3 << shift, np.int32)
        operations.append(Linear(f"layer{layer}", (last,), made, weight, bias, weight_format, rule))
        values[made] = Value(made, (3,), format)
        last = made
    return IntegerGraph("deep", values, ("x",), (last,), tuple(operations))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(("depth", "shift"), [(3, 12), (6, 8), (12, 8)])
def test_deep_chains(depth: int, shift: int, signed: bool) -> None:
    made = assert_equal(chain(depth, shift, signed), levels=3)
    assert made.stages > depth
