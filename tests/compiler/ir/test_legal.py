"""The table of legal ops: everything else is refused by name, with a reason and a way out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from bitsmith.importing.load import load_graph
from bitsmith.ir.legal import HINTS, RULES, Illegal, illegal_nodes
from bitsmith.pipelines import NORMALISE
from tests.sketch import Sketch, apply, normal

IMAGE = ("N", 4, 6, 6)


def problems(sketch: Sketch, *outputs: str, normalise: bool = True) -> list[Illegal]:
    graph = load_graph(sketch.model(*outputs))
    return illegal_nodes(apply(NORMALISE, graph)[0] if normalise else graph)


ILLEGAL: dict[str, tuple[Any, str, str]] = {
    "an op without integer form": (lambda s: s.add("Hardmax", "x", name="n"), "Hardmax n", "there is no integer form"),
    "a transposed convolution": (
        lambda s: s.add("ConvTranspose", "x", normal(4, 2, 3, 3), name="n"),
        "ConvTranspose n",
        "there is no integer form",
    ),
    "a gather": (lambda s: s.add("Gather", "x", np.array([1, 0]), axis=1, name="n"), "Gather n", "no integer form"),
    "a layer normalisation over several axes": (
        lambda s: s.add("LayerNormalization", "x", normal(6, 6), axis=2, name="n"),
        "LayerNormalization n",
        "a layer normalisation over axes 2 to 3",
    ),
    "a linear resize": (
        lambda s: s.add("Resize", "x", "", np.array([1, 1, 2, 2], np.float32), mode="linear", name="n"),
        "Resize n",
        "mode linear",
    ),
    "the places of maxima": (
        lambda s: s.add("Cast", s.add("MaxPool", "x", kernel_shape=[2, 2], outputs=2, name="n")[1], to=1),
        "MaxPool n",
        "its second output is used",
    ),
    "weights that are computed": (
        lambda s: s.add("Conv", "x", s.add("RandomNormal", shape=[4, 4, 1, 1]), name="n"),
        "Conv n",
        "is not constant",
    ),
    "a constant on the left of a product": (
        lambda s: s.add("MatMul", normal(5, 6), "x", name="n"),
        "MatMul n",
        "left operand is the constant",
    ),
    "a stack of matrices": (
        lambda s: s.add("MatMul", "x", normal(4, 6, 5), name="n"),
        "MatMul n",
        "its weight has rank 3",
    ),
    "a bound per row": (
        lambda s: s.add("Min", "x", normal(1, 1, 6, 1), name="n"),
        "Min n",
        "does not bound its input by one number per channel",
    ),
    "the lesser of two activations": (
        lambda s: s.add("Min", "x", s.add("Sigmoid", "x"), name="n"),
        "Min n",
        "does not bound its input by one number per channel",
    ),
    "a softmax inside": (
        lambda s: s.add("Relu", s.add("Softmax", "x", axis=2, name="n")),
        "Softmax n",
        "a softmax inside the model",
    ),
    "a softmax over the batch": (lambda s: s.add("Softmax", "x", axis=0, name="n"), "Softmax n", "over the batch"),
    "a mean over channels": (
        lambda s: s.add("ReduceMean", "x", axes=[1], name="n"),
        "ReduceMean n",
        "there is no integer form",
    ),
    "a mean over the batch": (
        lambda s: s.add("ReduceMean", "x", axes=[0], name="n"),
        "ReduceMean n",
        "there is no integer form",
    ),
    "a slice of the batch": (
        lambda s: s.add("Slice", "x", np.array([0]), np.array([100]), np.array([0]), name="n"),
        "Slice n",
        "slices the batch",
    ),
    "a pad by reflection": (
        lambda s: s.add("Pad", "x", np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="reflect", name="n"),
        "Pad n",
        "pads in mode reflect",
    ),
    "a slope for every element": (
        lambda s: s.add("PRelu", "x", normal(4, 6, 6), name="n"),
        "PRelu n",
        "neither one number nor one per channel",
    ),
    "a division by an activation": (
        lambda s: s.add("Div", "x", s.add("Sigmoid", "x"), name="n"),
        "Div n",
        "there is no integer form",
    ),
    "integers": (
        lambda s: s.add("Cast", s.add("Cast", "x", to=TensorProto.INT32, name="n"), to=TensorProto.FLOAT),
        "Cast n",
        "there is no integer form",
    ),
    "a pool that says SAME and is dilated": (
        lambda s: s.add("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2], auto_pad="SAME_UPPER", name="n"),
        "MaxPool n",
        "its padding is not spelled out",
    ),
}


@pytest.mark.parametrize("kind", ILLEGAL)
def test_what_cannot_be_compiled_is_named(kind: str) -> None:
    build, where, why = ILLEGAL[kind]
    sketch = Sketch(x=IMAGE)
    found = {problem.node.where: problem for problem in problems(sketch, build(sketch))}
    assert where in found, found
    assert why in found[where].reason
    assert found[where].fix.endswith(".")


def test_convolutions_and_pools_over_other_spaces() -> None:
    sketch = Sketch(x=("N", 2, 4, 4, 4))
    (conv,) = problems(sketch, sketch.add("Conv", "x", normal(2, 2, 3, 3, 3)))
    assert conv.reason == "a convolution over 3 dimensions"
    sketch = Sketch(x=("N", 2, 4, 4, 4))
    (pool,) = problems(sketch, sketch.add("GlobalAveragePool", "x"))
    assert pool.reason == "a pool over 3 dimensions"


def test_every_illegal_node_is_listed_in_order() -> None:
    sketch = Sketch(x=IMAGE)
    y = sketch.add("LpNormalization", sketch.add("Relu", sketch.add("Hardmax", "x", name="first")), name="second")
    assert [problem.node.name for problem in problems(sketch, y)] == ["first", "second"]


BEFORE: dict[str, tuple[Any, str]] = {
    "Gemm": (lambda s: s.add("Gemm", s.add("Flatten", "x"), normal(144, 3)), "canonicalize-gemm"),
    "MatMul": (lambda s: s.add("MatMul", s.add("Flatten", "x"), normal(144, 3)), "canonicalize-gemm"),
    "Conv": (lambda s: s.add("Conv", "x", normal(2, 4, 1, 1), kernel_shape=[1, 1]), "explicit-padding"),
    "Reshape": (lambda s: s.add("Reshape", "x", np.array([-1, 144])), "lower-reshapes"),
    "Clip": (lambda s: s.add("Clip", "x", np.float32(0)), "recognize-activations"),
    "Pad": (lambda s: s.add("Pad", "x", np.array([0] * 8)), "canonicalize-pads"),
    "Slice": (lambda s: s.add("Slice", "x", np.array([0]), np.array([2]), np.array([-1])), "canonicalize-slices"),
    "Resize": (
        lambda s: s.add("Resize", "x", "", np.array([2, 2], np.float32), axes=[2, 3], mode="nearest"),
        "canonicalize-resizes",
    ),
}


@pytest.mark.parametrize("op", BEFORE)
def test_a_form_that_a_pass_would_settle_names_the_pass(op: str) -> None:
    build, name = BEFORE[op]
    sketch = Sketch(opset=18, x=IMAGE)
    y = build(sketch)
    found = [problem for problem in problems(sketch, y, normalise=False) if problem.node.op == op]
    assert name in found[0].fix
    assert [problem for problem in problems(sketch, y) if problem.node.op == op] == []


def test_what_is_constant_is_not_compiled() -> None:
    sketch = Sketch(x=("N", 4))
    y = sketch.add("Relu", normal(2, 4))
    found = problems(sketch, sketch.add("Relu", "x"), y)
    assert [(p.node.output.name, p.reason) for p in found] == [(y, "all its operands are constant")]


def test_an_output_that_is_an_input_by_another_name_says_so() -> None:
    sketch = Sketch(x=("N", 4))
    (problem,) = problems(sketch, sketch.add("Identity", "x"))
    assert "second name" in problem.fix


def test_hints_are_for_ops_that_are_not_legal() -> None:
    assert not set(HINTS) & set(RULES)
    assert all(hint.endswith(".") for hint in HINTS.values())
