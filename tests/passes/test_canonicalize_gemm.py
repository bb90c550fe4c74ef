"""canonicalize-gemm: one form, the same numbers, and a reason where there is no such form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sketch import Sketch, apply, assert_same, normal, ops, reason


@given(
    st.floats(-2, 2),
    st.floats(-2, 2),
    st.booleans(),
    st.sampled_from([None, (), (1,), (5,), (1, 5), (1, 1)]),
)
def test_gemm(alpha: float, beta: float, transposed: bool, bias: tuple[int, ...] | None) -> None:
    sketch = Sketch(x=("N", 4))
    weight = normal(5, 4) if transposed else normal(4, 5)
    operands = [weight] if bias is None else [weight, normal(*bias)]
    model = sketch.model(sketch.add("Gemm", "x", *operands, alpha=alpha, beta=beta, transB=int(transposed)))
    graph, changes = apply("canonicalize-gemm", model)
    (gemm,) = graph.nodes()
    assert gemm.attributes == {"transB": 1}
    assert [gemm.operand(index).shape for index in (1, 2)] == [(5, 4), (5,)]
    assert changes.refused == []
    assert_same(model, graph)
    assert apply("canonicalize-gemm", graph)[1].made == []


def test_a_matmul_of_rank_2_becomes_a_gemm_and_of_rank_3_stays() -> None:
    sketch = Sketch(x=("N", 4))
    model = sketch.model(sketch.add("MatMul", "x", normal(4, 5)))
    graph, _ = apply("canonicalize-gemm", model)
    assert ops(graph) == ["Gemm"]
    assert_same(model, graph)
    sketch = Sketch(x=("N", 2, 4))
    graph, changes = apply("canonicalize-gemm", sketch.model(sketch.add("MatMul", "x", normal(4, 5))))
    assert ops(graph) == ["MatMul"]
    assert changes.made == changes.refused == []


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("group", [1, 2])
def test_a_convolution_gets_a_bias(op: str, group: int) -> None:
    sketch = Sketch(x=("N", 4, 5, 5))
    shape = (6, 4 // group, 3, 3) if op == "Conv" else (4, 6 // group, 3, 3)
    model = sketch.model(sketch.add(op, "x", normal(*shape), group=group))
    graph, _ = apply("canonicalize-gemm", model)
    np.testing.assert_array_equal(graph.nodes()[0].constant(2), np.zeros(6, np.float32))
    assert_same(model, graph)


def test_refused() -> None:
    sketch = Sketch(x=("N", 4))
    _, changes = apply("canonicalize-gemm", sketch.model(sketch.add("Gemm", "x", sketch.add("Abs", normal(4, 5)))))
    assert "its weight" in reason(changes)
    sketch = Sketch(x=("N", 4), b=("N", 5))
    model = sketch.model(sketch.add("Gemm", "x", normal(4, 5), "b", alpha=0.5))
    graph, changes = apply("canonicalize-gemm", model)
    assert reason(changes) == "its bias b is not constant"
    assert_same(model, graph)
    sketch = Sketch(x=("N", 3, 4))
    _, changes = apply("canonicalize-gemm", sketch.model(sketch.add("MatMul", "x", normal(2, 4, 5)[:1])))
    assert "has rank 3, not 2" in reason(changes)
    sketch = Sketch(x=("N", 3, 4))
    _, changes = apply("canonicalize-gemm", sketch.model(sketch.add("MatMul", normal(5, 3), "x")))
    assert "its weight x is not constant" in reason(changes)
