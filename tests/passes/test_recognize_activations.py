"""recognize-activations: written-out activations get their names, and look-alikes do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sketch import Sketch, apply, assert_same, ops

SIXTH = np.float32(1 / 6)


def clip(s: Sketch, x: str, low: float | None, high: float | None) -> str:
    bounds = [None if bound is None else np.float32(bound) for bound in (low, high)]
    while bounds and bounds[-1] is None:
        bounds.pop()
    return str(s.add("Clip", x, *bounds))


def gate(s: Sketch, x: str) -> str:
    return clip(s, s.add("Add", x, np.float32(3)), 0, 6)


def half_share(s: Sketch, x: str, root: float = 2**0.5) -> str:
    """Erf(x / sqrt 2) + 1."""
    return str(s.add("Add", s.add("Erf", s.add("Div", x, np.float32(root))), np.float32(1)))


WRITTEN_OUT: dict[str, tuple[str, Any]] = {
    "clip from 0": ("Relu", lambda s: clip(s, "x", 0, None)),
    "clip from 0 to infinity": ("Relu", lambda s: clip(s, "x", 0, np.inf)),
    "clip from 0 to the largest": ("Relu", lambda s: clip(s, "x", 0, np.finfo(np.float32).max)),
    "max with 0": ("Relu", lambda s: s.add("Max", "x", np.float32(0))),
    "max of 0": ("Relu", lambda s: s.add("Max", np.zeros(1, np.float32), "x")),
    "leaky with slope 0": ("Relu", lambda s: s.add("LeakyRelu", "x", alpha=0.0)),
    "relu of relu": ("Relu", lambda s: s.add("Relu", s.add("Relu", "x"))),
    "relu6 by min": ("Clip", lambda s: s.add("Min", s.add("Relu", "x"), np.float32(6))),
    "relu6 by clip of relu": ("Clip", lambda s: clip(s, s.add("Relu", "x"), -1, 6)),
    "max and min": ("Clip", lambda s: s.add("Max", s.add("Min", "x", np.float32(0.5)), np.float32(-0.5))),
    "gelu as torch": (
        "Gelu",
        lambda s: s.add("Mul", s.add("Mul", "x", half_share(s, "x")), np.float32(0.5)),
    ),
    "gelu halved first": (
        "Gelu",
        lambda s: s.add("Mul", s.add("Mul", "x", np.float32(0.5)), half_share(s, "x")),
    ),
    "gelu by its share": (
        "Gelu",
        lambda s: s.add("Mul", s.add("Mul", np.float32(0.5), half_share(s, "x")), "x"),
    ),
    "clip of clip": ("Clip", lambda s: clip(s, clip(s, "x", -1, 2), 0.5, 9)),
    "clip of a clip that it misses": ("Clip", lambda s: clip(s, clip(s, "x", -1, 1), 2, 3)),
    "min": ("Clip", lambda s: s.add("Min", "x", np.float32(0.3))),
    "one bound": ("Clip", lambda s: clip(s, "x", None, 0.3)),
    "bounds of rank 1": ("Clip", lambda s: s.add("Min", "x", np.full(1, 0.3, np.float32))),
    "neg": ("Mul", lambda s: s.add("Neg", "x")),
    "hard sigmoid": ("HardSigmoid", lambda s: s.add("Div", gate(s, "x"), np.float32(6))),
    "hard sigmoid by a product": ("HardSigmoid", lambda s: s.add("Mul", SIXTH, gate(s, "x"))),
    "hard sigmoid of a scaled value": (
        "HardSigmoid",
        lambda s: s.add("Mul", clip(s, s.add("Mul", "x", np.float32(0.4)), 0, 2), np.float32(0.5)),
    ),
    "hard sigmoid by relu6": (
        "HardSigmoid",
        lambda s: s.add("Div", clip(s, s.add("Relu", s.add("Add", "x", np.float32(3))), 0, 6), np.float32(6)),
    ),
    "hard swish by hard sigmoid": ("HardSwish", lambda s: s.add("Mul", "x", s.add("HardSigmoid", "x", alpha=1 / 6))),
    "hard swish, divided last": ("HardSwish", lambda s: s.add("Div", s.add("Mul", "x", gate(s, "x")), np.float32(6))),
    "hard swish, gate first": ("HardSwish", lambda s: s.add("Mul", s.add("Mul", gate(s, "x"), "x"), SIXTH)),
    "hard swish, gate divided": ("HardSwish", lambda s: s.add("Mul", "x", s.add("Div", gate(s, "x"), np.float32(6)))),
    "hard swish, value divided": ("HardSwish", lambda s: s.add("Mul", s.add("Mul", "x", SIXTH), gate(s, "x"))),
}


@pytest.mark.parametrize("kind", WRITTEN_OUT)
def test_written_out_activations_become_one_node(kind: str) -> None:
    op, build = WRITTEN_OUT[kind]
    sketch = Sketch(x=("N", 3, 40))
    model = sketch.model(build(sketch))
    graph, changes = apply("recognize-activations", model)
    assert ops(graph) == [op]
    assert changes.made
    if op == "Clip":
        assert all(graph.nodes()[0].constant(index).shape == () for index in (1, 2))  # type: ignore[union-attr]
    assert_same(model, graph)


LOOK_ALIKES: dict[str, Any] = {
    "gelu of another width": lambda s: s.add("Mul", s.add("Mul", "x", half_share(s, "x", 2.0)), np.float32(0.5)),
    "gelu not halved": lambda s: s.add("Mul", "x", half_share(s, "x")),
    "gelu of the wrong value": lambda s: s.add(
        "Mul", s.add("Mul", s.add("Sigmoid", "x"), half_share(s, "x")), np.float32(0.5)
    ),
    "max of two values": lambda s: s.add("Max", "x", s.add("Neg", "x")),
    "max by channel": lambda s: s.add("Max", "x", np.zeros((3, 1), np.float32)),
    "max that grows the value": lambda s: s.add(
        "Max", s.add("ReduceMax", "x", axes=[2]), np.zeros((1, 3, 4), np.float32)
    ),
    "gate of another value": lambda s: s.add("Mul", s.add("Sigmoid", "x"), s.add("Div", gate(s, "x"), np.float32(6))),
    "gate with another offset": lambda s: s.add(
        "Mul", "x", s.add("Div", clip(s, s.add("Add", "x", np.float32(2)), 0, 6), np.float32(6))
    ),
    "gate that stops short of one": lambda s: s.add(
        "Mul", "x", s.add("Div", clip(s, s.add("Add", "x", np.float32(3)), 0, 5), np.float32(6))
    ),
    "silu": lambda s: s.add("Mul", "x", s.add("Sigmoid", "x")),
    "negative scale": lambda s: s.add("Mul", clip(s, "x", 0, 2), np.float32(-0.5)),
    "a scale by channel": lambda s: s.add("Mul", gate(s, "x"), np.full((3, 1), 1 / 6, np.float32)),
    "leaky": lambda s: s.add("LeakyRelu", "x", alpha=0.1),
}


@pytest.mark.parametrize("kind", LOOK_ALIKES)
def test_look_alikes_keep_their_numbers(kind: str) -> None:
    sketch = Sketch(x=("N", 3, 4))
    model = sketch.model(LOOK_ALIKES[kind](sketch))
    graph, _ = apply("recognize-activations", model)
    if "gate" in kind:
        assert "HardSwish" not in ops(graph)
    else:
        assert not {"HardSwish", "HardSigmoid", "Relu"} & set(ops(graph))
    assert_same(model, graph)


def test_what_others_read_is_kept() -> None:
    """The clamp inside is read twice, so it stays, and the outer node still reads it."""
    sketch = Sketch(x=("N", 3, 4))
    inner = clip(sketch, "x", -1, 2)
    model = sketch.model(clip(sketch, inner, 0, 5), inner)
    graph, _ = apply("recognize-activations", model)
    assert ops(graph) == ["Clip", "Clip"]
    assert_same(model, graph)
    sketch = Sketch(x=("N", 3, 4))
    inner = gate(sketch, "x")
    model = sketch.model(sketch.add("Div", sketch.add("Mul", "x", inner), np.float32(6)), inner)
    graph, _ = apply("recognize-activations", model)
    assert "HardSwish" not in ops(graph)
    assert_same(model, graph)


@given(*[st.floats(-3, 3, width=32)] * 4)
def test_a_clip_of_a_clip_is_one_clip(a: float, b: float, c: float, d: float) -> None:
    sketch = Sketch(x=("N", 50))
    model = sketch.model(clip(sketch, clip(sketch, "x", min(a, b), max(a, b)), min(c, d), max(c, d)))
    graph, _ = apply("recognize-activations", model)
    assert len(ops(graph)) == 1
    assert_same(model, graph, tolerance=0)


@given(st.floats(0.125, 4, width=32), st.floats(-3, 3, width=32), st.floats(0.5, 8, width=32))
def test_every_ramp_to_one_is_a_hard_sigmoid(slope: float, offset: float, top: float) -> None:
    sketch = Sketch(x=("N", 50))
    y = sketch.add("Add", sketch.add("Mul", "x", np.float32(slope)), np.float32(offset))
    model = sketch.model(sketch.add("Div", clip(sketch, y, 0, top), np.float32(top)))
    graph, _ = apply("recognize-activations", model)
    assert ops(graph)[-1] == "HardSigmoid"
    assert_same(model, graph)


def test_a_second_run_changes_nothing() -> None:
    sketch = Sketch(x=("N", 3, 4))
    model = sketch.model(clip(sketch, sketch.add("Mul", "x", gate(sketch, "x")), 0, 6))
    graph, _ = apply("recognize-activations", model)
    assert apply("recognize-activations", graph)[1].made == []
