"""recognize-layer-norm: what exporters wrote out before opset 17 is one node, and look-alikes are left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bitsmith.pipelines import NORMALISE
from tests.sketch import Array, Sketch, apply, assert_same, normal, ops, reason

WIDTH = 8
LAST = np.array([-1], np.int64)


def mean(s: Sketch, x: str, axes: Array = LAST, **attributes: Any) -> str:
    return str(s.add("ReduceMean", x, axes=axes.tolist(), **attributes))


def written_out(
    s: Sketch,
    gain: Array | None = None,
    offset: Array | None = None,
    axes: Array = LAST,
    exponent: float | None = 2.0,
    epsilon: float | Array = 1e-5,
    twice: bool = False,
    x: str = "x",
) -> str:
    """As PyTorch writes it: with Pow, or where exponent is None with Mul; with the difference computed twice."""
    off = s.add("Sub", x, mean(s, x, axes))
    again = s.add("Sub", x, mean(s, x, axes)) if twice else off
    square = s.add("Mul", again, again) if exponent is None else s.add("Pow", again, np.float32(exponent))
    root = s.add("Sqrt", s.add("Add", mean(s, square, axes), np.float32(epsilon)))
    made = s.add("Div", off, root)
    made = made if gain is None else s.add("Mul", made, gain)
    return str(made if offset is None else s.add("Add", offset, made))


KINDS: dict[str, dict[str, Any]] = {
    "with gain and offset": {"gain": normal(WIDTH), "offset": normal(WIDTH, seed=2)},
    "with one gain for all": {"gain": np.float32(3), "offset": normal(1, 1, WIDTH)},
    "without offset": {"gain": normal(WIDTH)},
    "without gain": {"offset": normal(WIDTH)},
    "bare": {},
    "squared by a product": {"exponent": None, "gain": normal(WIDTH)},
    "with the difference twice": {"twice": True, "gain": normal(WIDTH)},
    "over the last axis by its number": {"axes": np.array([2]), "gain": normal(WIDTH)},
    "with another epsilon": {"epsilon": np.full((1, 1), 0.25, np.float32)},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", [11, 17])
def test_what_is_written_out_is_one_node(kind: str, opset: int) -> None:
    sketch = Sketch(opset=opset, x=("N", 5, WIDTH))
    model = sketch.model(written_out(sketch, **KINDS[kind]))
    graph, changes = apply("recognize-layer-norm", model)
    assert ops(graph) == ["LayerNormalization"]
    assert len(changes.made) == 1
    assert not changes.refused
    assert_same(model, graph)


def test_a_gain_for_each_position_stays_behind() -> None:
    sketch = Sketch(x=("N", 5, WIDTH))
    model = sketch.model(written_out(sketch, normal(5, WIDTH), normal(WIDTH)))
    graph, _ = apply("recognize-layer-norm", model)
    assert ops(graph) == ["LayerNormalization", "Mul", "Add"]
    assert_same(model, graph)


def test_what_others_read_too_is_not_swallowed() -> None:
    sketch = Sketch(x=("N", 5, WIDTH))
    made = written_out(sketch)
    model = sketch.model(sketch.add("Add", sketch.add("Mul", made, normal(WIDTH)), made))
    graph, _ = apply("recognize-layer-norm", model)
    assert ops(graph) == ["LayerNormalization", "Mul", "Add"]
    assert_same(model, graph)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "over another axis": ({"axes": np.array([1])}, "not a value less its mean over the last axis"),
    "over two axes": ({"axes": np.array([1, 2])}, "not a value less its mean over the last axis"),
    "a cube": ({"exponent": 3.0}, "is not a square"),
    "an epsilon of 0": ({"epsilon": 0.0}, "its epsilon is 0, not above 0"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_look_alikes_are_refused_with_the_reason(kind: str) -> None:
    options, why = REFUSED[kind]
    sketch = Sketch(x=("N", 5, WIDTH))
    graph, changes = apply("recognize-layer-norm", sketch.model(written_out(sketch, **options)))
    assert why in reason(changes)
    assert "LayerNormalization" not in ops(graph)


def deviation(s: Sketch, dividend: str, off: str) -> str:
    root = s.add("Sqrt", s.add("Add", mean(s, s.add("Mul", off, off)), np.float32(1e-5)))
    return str(s.add("Div", dividend, root))


def test_a_root_that_divides_something_else_is_refused() -> None:
    sketch = Sketch(x=("N", 5, WIDTH))
    off = sketch.add("Sub", "x", mean(sketch, "x"))
    _, changes = apply("recognize-layer-norm", sketch.model(deviation(sketch, "x", off)))
    assert "does not divide x less its mean" in reason(changes)


def test_a_root_that_is_an_output_is_refused() -> None:
    sketch = Sketch(x=("N", 5, WIDTH))
    off = sketch.add("Sub", "x", mean(sketch, "x"))
    root = sketch.add("Sqrt", sketch.add("Add", mean(sketch, sketch.add("Mul", off, off)), np.float32(1e-5)))
    _, changes = apply("recognize-layer-norm", sketch.model(root))
    assert reason(changes) == "something else than one Div reads it"


def test_normalising_gives_one_node() -> None:
    sketch = Sketch(opset=13, x=("N", 5, WIDTH))
    made = written_out(sketch, normal(WIDTH), normal(WIDTH, seed=3))
    model = sketch.model(made)
    graph, _ = apply(NORMALISE, model)
    assert ops(graph) == ["LayerNormalization"]
    assert_same(model, graph)
