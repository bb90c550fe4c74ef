"""fold-batch-norm: exact on either side, and refused with the reason wherever it would not be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sketch import Array, Sketch, apply, assert_same, normal, ops, reason


def statistics(channels: int, seed: int = 5) -> list[Array]:
    """gamma, beta, mean, variance of a normalisation that scales by both signs."""
    variance = np.abs(normal(channels, seed=seed + 3)) + 0.1
    return [normal(channels, seed=seed + i) for i in range(3)] + [variance]


def norm(sketch: Sketch, x: str, channels: int, **attributes: Any) -> str:
    return str(sketch.add("BatchNormalization", x, *statistics(channels), name="norm", **attributes))


@given(st.integers(1, 2), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), st.booleans(), st.booleans())
def test_into_the_convolution_before(
    space: int, groups: int, inputs: int, outputs: int, bias: bool, transposed: bool
) -> None:
    sketch = Sketch(x=("N", groups * inputs, *[5] * space))
    kernel = [2] * space
    if transposed:
        weight = normal(groups * inputs, outputs, *kernel)
        op, pads = "ConvTranspose", [0, 1] * space
    else:
        weight = normal(groups * outputs, inputs, *kernel)
        op, pads = "Conv", [0, 1] * space
    operands = [weight, normal(groups * outputs)] if bias else [weight]
    y = sketch.add(op, "x", *operands, group=groups, pads=pads, strides=[2] * space)
    model = sketch.model(norm(sketch, y, groups * outputs, epsilon=1e-2))
    graph, changes = apply("fold-batch-norm", model)
    assert ops(graph) == [op]
    assert changes.made == ["BatchNormalization norm"]
    assert_same(model, graph)


@given(st.floats(-2, 2), st.floats(-2, 2), st.booleans(), st.sampled_from([None, (), (1,), (5,), (1, 5)]))
def test_into_the_gemm_before(alpha: float, beta: float, transposed: bool, bias: tuple[int, ...] | None) -> None:
    sketch = Sketch(x=("N", 4))
    weight = normal(5, 4) if transposed else normal(4, 5)
    operands = [weight] if bias is None else [weight, normal(*bias)]
    y = sketch.add("Gemm", "x", *operands, alpha=alpha, beta=beta, transB=int(transposed))
    model = sketch.model(norm(sketch, y, 5))
    graph, _ = apply("fold-batch-norm", model)
    assert ops(graph) == ["Gemm"]
    assert_same(model, graph)


def test_into_the_matmul_before() -> None:
    sketch = Sketch(x=("N", 4))
    model = sketch.model(norm(sketch, sketch.add("MatMul", "x", normal(4, 5)), 5))
    graph, _ = apply("fold-batch-norm", model)
    assert ops(graph) == ["Gemm"]
    assert_same(model, graph)


@given(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_into_the_convolution_after_without_padding(space: int, groups: int, inputs: int, bias: bool) -> None:
    sketch = Sketch(x=("N", groups * inputs, *[5] * space))
    y = norm(sketch, sketch.add("Relu", "x"), groups * inputs)
    weight = normal(groups * 2, inputs, *[3] * space)
    operands = [weight, normal(groups * 2)] if bias else [weight]
    model = sketch.model(sketch.add("Conv", y, *operands, group=groups, strides=[2] * space))
    graph, _ = apply("fold-batch-norm", model)
    assert ops(graph) == ["Relu", "Conv"]
    assert_same(model, graph)


def test_into_the_padded_convolution_after_where_nothing_shifts() -> None:
    """With beta = mean = 0 the normalisation only scales, and zeros stay zeros."""
    gamma, _, _, variance = statistics(3)
    zeros = np.zeros(3, np.float32)
    sketch = Sketch(x=("N", 3, 5, 5))
    y = sketch.add("BatchNormalization", "x", gamma, zeros, zeros, variance)
    model = sketch.model(sketch.add("Conv", y, normal(2, 3, 3, 3), pads=[1, 1, 1, 1]))
    graph, _ = apply("fold-batch-norm", model)
    assert ops(graph) == ["Conv"]
    assert_same(model, graph)


@pytest.mark.parametrize("transposed", [0, 1])
def test_into_the_gemm_after(transposed: int) -> None:
    sketch = Sketch(x=("N", 4))
    weight = normal(5, 4) if transposed else normal(4, 5)
    model = sketch.model(
        sketch.add("Gemm", norm(sketch, "x", 4), weight, normal(5), alpha=0.5, beta=3.0, transB=transposed)
    )
    graph, _ = apply("fold-batch-norm", model)
    assert ops(graph) == ["Gemm"]
    assert_same(model, graph)


def test_the_side_before_is_taken_first() -> None:
    sketch = Sketch(x=("N", 4))
    y = norm(sketch, sketch.add("MatMul", "x", normal(4, 4), name="before"), 4)
    model = sketch.model(sketch.add("MatMul", y, normal(4, 4), name="after"))
    graph, _ = apply("fold-batch-norm", model)
    assert [(node.op, node.name) for node in graph.nodes()] == [("Gemm", "before"), ("MatMul", "after")]
    assert_same(model, graph)


def test_an_output_keeps_its_name() -> None:
    sketch = Sketch(x=("N", 4))
    model = sketch.model(norm(sketch, sketch.add("MatMul", "x", normal(4, 4)), 4))
    graph, _ = apply("fold-batch-norm", model)
    assert graph.outputs[0].name == model.graph.output[0].name


@pytest.mark.parametrize(
    ("shared", "expected"), [("reader", "c is used elsewhere too"), ("output", "c is used elsewhere too")]
)
def test_refused_where_the_value_before_is_shared(shared: str, expected: str) -> None:
    sketch = Sketch(x=("N", 3, 4, 4))
    sketch.add("Conv", "x", normal(3, 3, 1, 1), outputs=["c"])
    y = norm(sketch, "c", 3)
    model = sketch.model(sketch.add("Add", y, "c")) if shared == "reader" else sketch.model(y, "c")
    graph, changes = apply("fold-batch-norm", model)
    assert changes.made == []
    assert expected in reason(changes)
    assert_same(model, graph)


def test_refused_where_the_value_after_is_read_twice() -> None:
    sketch = Sketch(x=("N", 4))
    y = norm(sketch, "x", 4)
    model = sketch.model(sketch.add("Add", sketch.add("MatMul", y, normal(4, 4)), y))
    graph, changes = apply("fold-batch-norm", model)
    assert "is not made by a" in reason(changes)
    assert "is used more than once" in reason(changes)
    assert_same(model, graph)


def test_refused_where_the_value_after_is_an_output() -> None:
    sketch = Sketch(x=("N", 4))
    y = norm(sketch, "x", 4)
    _, changes = apply("fold-batch-norm", sketch.model(sketch.add("MatMul", y, normal(4, 4)), y))
    assert "is an output of the graph" in reason(changes)


@pytest.mark.parametrize("padding", [{"pads": [0, 0, 1, 0]}, {"auto_pad": "SAME_UPPER"}])
def test_refused_into_padding(padding: dict[str, Any]) -> None:
    sketch = Sketch(x=("N", 3, 5, 5))
    model = sketch.model(sketch.add("Conv", norm(sketch, "x", 3), normal(2, 3, 3, 3), name="conv", **padding))
    graph, changes = apply("fold-batch-norm", model)
    assert "Conv conv pads with zeros" in reason(changes)
    assert_same(model, graph)


def test_refused_into_a_transposed_convolution_after() -> None:
    sketch = Sketch(x=("N", 3, 5, 5))
    model = sketch.model(sketch.add("ConvTranspose", norm(sketch, "x", 3), normal(3, 2, 3, 3)))
    graph, changes = apply("fold-batch-norm", model)
    assert "fewer terms at its border" in reason(changes)
    assert_same(model, graph)


def test_refused_between_ops_that_are_not_linear() -> None:
    sketch = Sketch(x=("N", 4))
    model = sketch.model(sketch.add("Relu", norm(sketch, sketch.add("Relu", "x"), 4)))
    _, changes = apply("fold-batch-norm", model)
    assert "does not go into a Conv or ConvTranspose or Gemm or MatMul" in reason(changes)


def test_refused_along_another_axis() -> None:
    """A MatMul of rank 3 has its channels last, a BatchNormalization second."""
    sketch = Sketch(x=("N", 4, 4))
    model = sketch.model(norm(sketch, sketch.add("MatMul", "x", normal(4, 4)), 4))
    graph, changes = apply("fold-batch-norm", model)
    assert "channels" in reason(changes)
    assert_same(model, graph)


def test_refused_into_weights_that_are_computed() -> None:
    for op, operands in (("Conv", (normal(3, 3, 1, 1),)), ("ConvTranspose", (normal(3, 3, 1, 1),))):
        sketch = Sketch(x=("N", 3, 4, 4))
        weight = sketch.add("Abs", *operands)
        _, changes = apply("fold-batch-norm", sketch.model(norm(sketch, sketch.add(op, "x", weight), 3)))
        assert f"its weight {weight} is not constant" in reason(changes)
    sketch = Sketch(x=("N", 3, 4, 4))
    y = sketch.add("Conv", norm(sketch, "x", 3), sketch.add("Abs", normal(3, 3, 1, 1)), name="conv")
    _, changes = apply("fold-batch-norm", sketch.model(y))
    assert "the weight of Conv conv is not constant" in reason(changes)


def test_refused_where_the_statistics_are_computed() -> None:
    sketch = Sketch(x=("N", 4))
    scale = sketch.add("Abs", sketch.hold(normal(4)))
    _, beta, mean, variance = statistics(4)
    y = sketch.add("BatchNormalization", sketch.add("MatMul", "x", normal(4, 4)), scale, beta, mean, variance)
    _, changes = apply("fold-batch-norm", sketch.model(y))
    assert reason(changes) == "its statistics are not constant"


def test_refused_where_the_variance_is_not_positive() -> None:
    sketch = Sketch(x=("N", 4))
    gamma, beta, mean, _ = statistics(4)
    bad = np.array([1, 1, -1, 1], np.float32)
    y = sketch.add("BatchNormalization", sketch.add("MatMul", "x", normal(4, 4)), gamma, beta, mean, bad)
    _, changes = apply("fold-batch-norm", sketch.model(y))
    assert reason(changes) == "its variance is not positive"


def test_refused_where_float32_would_overflow() -> None:
    sketch = Sketch(x=("N", 4))
    large, tiny, zeros = np.full(4, 1e17, np.float32), np.full(4, 1e-12, np.float32), np.zeros(4, np.float32)
    weights = 1e17 * normal(4, 4)
    y = sketch.add("BatchNormalization", sketch.add("MatMul", "x", weights), large, zeros, zeros, tiny, epsilon=1e-12)
    graph, changes = apply("fold-batch-norm", sketch.model(y))
    assert "would not be finite in float32" in reason(changes)
    assert all(np.isfinite(v.constant).all() for v in graph.values() if v.constant is not None)
