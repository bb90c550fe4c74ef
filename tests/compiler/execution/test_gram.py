"""Patches against the convolutions that they stand for, and moments against two passes in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.execution.gram import StreamingGram
from bitsmith.execution.patches import patch_bytes, patch_shape, patches
from bitsmith.importing.load import load_graph
from bitsmith.ir.graph import Node
from tests.sketch import Array, Sketch, apply, normal, run


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Sketch, str, Array]:
    """A Conv over one or two axes with every attribute drawn, the name of its output, and its input."""
    spatial = draw(st.integers(1, 2))

    def per_axis(low: int, high: int, times: int = 1) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=spatial * times, max_size=spatial * times))

    groups, inside, outside = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    kernel = per_axis(1, 3)
    x = normal(draw(st.integers(1, 4)), groups * inside, *per_axis(5, 8), seed=draw(st.integers(0, 99)))
    weight = normal(groups * outside, inside, *kernel, seed=7)
    sketch = Sketch(x=("N", *x.shape[1:]))
    attributes = {"strides": per_axis(1, 3), "dilations": per_axis(1, 2), "pads": per_axis(0, 2, times=2)}
    return sketch, sketch.add("Conv", "x", weight, group=groups, kernel_shape=kernel, **attributes), x


def only_node(sketch: Sketch, output: str) -> Node:
    (node,) = load_graph(sketch.model(output)).nodes()
    return node


@given(convolutions())
def test_patches_times_weights_are_the_convolution(case: tuple[Sketch, str, Array]) -> None:
    sketch, output, x = case
    node = only_node(sketch, output)
    groups, length = patch_shape(node)
    weight = node.constant(1)
    assert weight is not None
    rows = patches(node, x)
    product = rows @ weight.reshape(groups, -1, length).transpose(0, 2, 1)
    (expected,) = run(sketch.model(output), x=x)
    # (groups, n * out, channels) -> (n, groups * channels, *out)
    found = np.moveaxis(product.reshape(groups, len(x), -1, product.shape[2]), (1, 0, 3), (0, 1, 2))
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=2e-5)
    assert rows.nbytes == patch_bytes(node) * len(x)


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_the_rows_of_a_matrix_product_are_its_last_axis(op: str) -> None:
    shape = (4, 6) if op == "Gemm" else (4, 5, 6)
    sketch = Sketch(x=("N", *shape[1:]))
    graph, _ = apply("canonicalize-gemm", sketch.model(sketch.add(op, "x", normal(6, 3))))
    (node,) = graph.nodes()
    x = normal(*shape)
    rows = patches(node, x)
    np.testing.assert_array_equal(rows[0], x.reshape(-1, 6))
    assert not np.shares_memory(rows, x)
    assert rows.nbytes == patch_bytes(node) * 4


@given(convolutions(), st.integers(1, 3), st.floats(-50, 50, width=32))
def test_moments_are_those_of_two_passes_however_the_batches_are_cut(
    case: tuple[Sketch, str, Array], step: int, offset: float
) -> None:
    sketch, output, x = case
    node = only_node(sketch, output)
    x = x + np.float32(offset)
    before = x.copy()
    gram = StreamingGram(node)
    for start in range(0, len(x), step):
        gram.add(x[start : start + step])
    found = gram.result()
    rows = patches(node, x).astype(np.float64)
    mean = rows.mean(axis=1)
    centred = rows - mean[:, None]
    matrix = centred.transpose(0, 2, 1) @ centred / rows.shape[1]
    assert found.rows == rows.shape[1]
    # Float32 sums of squares: a few roundings of the largest, whatever the mean; padding is far from the mean.
    np.testing.assert_allclose(found.mean, mean, atol=1e-6 * max(1.0, abs(offset)))
    np.testing.assert_allclose(found.matrix, matrix, atol=4e-6 * max(1.0, float(matrix.max())))
    np.testing.assert_array_equal(x, before)


def test_a_mean_a_thousand_deviations_off_costs_no_digits() -> None:
    sketch = Sketch(x=("N", 8))
    graph, _ = apply("canonicalize-gemm", sketch.model(sketch.add("Gemm", "x", normal(8, 3))))
    (node,) = graph.nodes()
    x = (normal(20000, 8) + 1000).astype(np.float32)
    gram = StreamingGram(node)
    for start in range(0, len(x), 500):
        gram.add(x[start : start + 500])
    expected = np.cov(x.astype(np.float64).T, bias=True)
    np.testing.assert_allclose(gram.result().matrix[0], expected, atol=1e-5)


def test_a_depthwise_layer_has_one_small_matrix_a_channel() -> None:
    sketch = Sketch(x=("N", 5, 6, 6))
    node = only_node(sketch, sketch.add("Conv", "x", normal(5, 1, 3, 3), group=5, kernel_shape=[3, 3]))
    gram = StreamingGram(node)
    gram.add(normal(2, 5, 6, 6))
    found = gram.result()
    assert found.matrix.shape == (5, 9, 9)
    assert found.mean.shape == (5, 9)
    assert found.rows == 2 * 4 * 4
