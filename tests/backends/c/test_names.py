"""C identifiers of operations: whatever they are called, the C compiles and no two are alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.backends.c.names import identifiers
from tests.backends.c.agreement import assert_equal
from tests.backends.onnxruntime.graphs import linear


@given(names=st.lists(st.text(min_size=1, max_size=12), unique=True, max_size=6))
def test_each_has_one_of_its_own(names: list[str]) -> None:
    chosen = identifiers(names)
    assert list(chosen) == names
    assert len(set(chosen.values())) == len(names)
    for one in chosen.values():
        assert one.isascii()
        assert one.isidentifier()
        assert "_" in one.strip("_")


def test_parts_of_a_function_are_not_taken_for_another() -> None:
    assert identifiers(["conv_1", "conv_1_pair", "conv_1_2"]) == {
        "conv_1": "conv_1",
        "conv_1_pair": "conv_1_pair_2",
        "conv_1_2": "conv_1_2",
    }


@pytest.mark.parametrize(
    "name", ["exp", "in", "at", "int", "memcpy", "requantize_wide", "int8_t", "a */ b", "??/", "\u00e9"]
)
def test_a_name_of_anything_else_compiles(name: str) -> None:
    graph = linear((3, 7))
    (operation,) = graph.operations
    renamed = replace(graph, name=name, operations=(replace(operation, name=name),))
    assert_equal(renamed)
