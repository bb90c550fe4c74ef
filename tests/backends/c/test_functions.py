"""Functions that several kernels call are written once, and told at run time what differs."""

from __future__ import annotations

import re
from dataclasses import replace

from bitsmith.backends.c import Program, build, sources
from bitsmith.ir.integer import IntegerGraph
from tests.backends.c.agreement import HOST, assert_equal
from tests.backends.c.test_helium import side_by_side
from tests.backends.onnxruntime.graphs import conv


def defined(program: Program, stem: str) -> list[str]:
    """The functions of model.c whose names are a stem, with a number or without."""
    return re.findall(rf"^KERNEL void ({stem}(?:_\d+)?)\(", sources(program)["model.c"], re.MULTILINE)


def test_convolutions_that_differ_in_sizes_and_numbers_alone_share_a_function() -> None:
    graph = side_by_side([conv((5, 4), 6, 8), conv((7, 3), 10, 16, seed=3), conv((4, 4), 4, 12, kernel=1, seed=4)])
    assert defined(assert_equal(graph), "conv_pair") == ["conv_pair"]


def test_those_that_differ_otherwise_have_functions_of_their_own() -> None:
    cases = [
        conv((5, 4), 6, 8),
        conv((5, 4), 6, 8, clamp=(-20, 90)),
        conv((5, 4), 6, 8, weight_bits=4),
        conv((5, 4), 7, 3),
    ]
    program = assert_equal(side_by_side(cases))
    assert defined(program, "conv_pair") == ["conv_pair", "conv_pair_2", "conv_pair_3", "conv_pair_4"]


def test_edges_of_depthwise_images_share_a_function() -> None:
    graph = side_by_side([conv((5, 4), 6, 6, groups=6), conv((7, 6), 4, 4, groups=4, seed=2)])
    assert defined(assert_equal(graph), "depthwise_edge") == ["depthwise_edge"]


def test_a_shared_function_takes_no_name_of_an_operation() -> None:
    graph = named(conv((5, 4), 6, 8), "conv_pair")
    (step,) = build(graph, HOST).steps
    assert step.function == "conv_pair"
    assert defined(assert_equal(graph), "conv_pair") == ["conv_pair_2", "conv_pair"]


def named(graph: IntegerGraph, name: str) -> IntegerGraph:
    """A graph of one operation, which is called otherwise."""
    (operation,) = graph.operations
    return replace(graph, operations=(replace(operation, name=name),))
