"""Words of hexadecimal, and names of ports."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.backends.rtl.layout import Port, from_words, ports, to_words
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import IntegerGraph, Reshape, Value


@given(st.lists(st.tuples(st.integers(1, 16), st.booleans(), st.integers(1, 5)), min_size=1, max_size=3))
def test_words_give_back_the_integers(kinds: list[tuple[int, bool, int]]) -> None:
    random = np.random.default_rng(0)
    made, arrays = [], []
    for bits, signed, size in kinds:
        kind = IntegerType(bits, signed)
        made.append(Port(f"p{len(made)}", Value("v", (size, 2), Format(kind, (1.0,)))))
        drawn = random.integers(kind.lowest, kind.highest, (7, size, 2), endpoint=True)
        arrays.append(drawn.astype(kind.storage))
    for array, found in zip(arrays, from_words(made, to_words(made, arrays)), strict=True):
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def test_the_first_element_is_in_the_lowest_bits() -> None:
    port = Port("p", Value("v", (3,), Format(IntegerType(4), (1.0,))))
    assert to_words([port], [np.array([[1, 2, -1]], np.int8)]) == ["0f21"]


def test_names_that_no_language_takes() -> None:
    format = Format(IntegerType(4), (1.0,))
    names = ("A/b", "a.b", "__", "module")
    values = {name: Value(name, (1,), format) for name in (*names, "y")}
    graph = IntegerGraph("g", values, names, ("y",), (Reshape("r", ("A/b",), "y"),))
    assert [port.name for port in ports(graph)[0]] == ["in_a_b_0n", "in_a_b_1n", "in_value", "in_module"]
    assert [port.name for port in ports(graph)[1]] == ["out_y"]
