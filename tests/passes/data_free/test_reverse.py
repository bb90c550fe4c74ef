"""Every rule of the reverse pass against differences of ONNX's own reference evaluator in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from bitsmith.execution.runtime import Session
from bitsmith.importing.load import load_graph
from bitsmith.ir.legal import RULES as LEGAL
from bitsmith.ir.moments import ClippedNormal
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.passes.data_free.distill import prepared
from bitsmith.passes.data_free.reverse import RULES, Tape, reverse
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.sketch import Sketch, normal

Array = np.ndarray[Any, Any]
STEP = 1e-5
BATCH = 2


def in_double(model: onnx.ModelProto) -> ReferenceEvaluator:
    """The model in float64, which leaves differences digits enough."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for value in [*copy.graph.input, *copy.graph.output, *copy.graph.value_info]:
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    return ReferenceEvaluator(copy)


def assert_gradients(sketch: Sketch, output: str, *, seed: int = 0) -> None:
    """The gradients of a random weighted sum of the output, along random directions of every input."""
    graph = load_graph(sketch.model(output))
    module = Module(graph, Target("test", "none"))
    Pipeline.parse(NORMALISE).run(module)
    random = np.random.default_rng(seed)
    batch = {value.name: random.normal(size=(BATCH, *value.sample_shape)) for value in graph.inputs}
    evaluator = in_double(graph.to_onnx())
    made = graph.outputs[0]
    weights = random.normal(size=(BATCH, *made.sample_shape))

    copy = graph.copy()
    tape = Tape(copy)
    found = reverse(tape, {copy.outputs[0]: tape.constant(weights)}, copy.nodes())
    names = {value.name: found[value].name for value in copy.inputs}
    assert set(names) == set(batch)
    single = {name: array.astype(np.float32) for name, array in batch.items()}
    gradients = Session(copy, list(names.values())).run(single)

    for name in batch:
        for _ in range(3):
            direction = random.normal(size=batch[name].shape)
            ends = [
                float((weights * evaluator.run(None, {**batch, name: batch[name] + sign * STEP * direction})[0]).sum())
                for sign in (1, -1)
            ]
            along = float((gradients[names[name]].astype(np.float64) * direction).sum())
            scale = float(np.abs(gradients[names[name]] * direction).sum())
            assert along == pytest.approx((ends[0] - ends[1]) / (2 * STEP), abs=1e-4 * scale + 1e-6)


sides = st.integers(0, 2)


@settings(max_examples=40)
@given(
    space=st.tuples(st.integers(5, 8), st.integers(5, 8)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(sides, sides, sides, sides),
    groups=st.sampled_from([1, 2, 4]),
)
def test_convolutions(
    space: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int, int, int],
    groups: int,
) -> None:
    sketch = Sketch(x=("N", 4, *space))
    weight = normal(8, 4 // groups, *kernel)
    assert_gradients(
        sketch,
        sketch.add("Conv", "x", weight, normal(8), group=groups, strides=strides, dilations=dilations, pads=pads),
    )


def test_convolution_of_a_line() -> None:
    sketch = Sketch(x=("N", 3, 11))
    assert_gradients(sketch, sketch.add("Conv", "x", normal(5, 3, 4), normal(5), strides=[3], pads=[1, 0]))


@settings(max_examples=20)
@given(
    op=st.sampled_from(["MaxPool", "AveragePool"]),
    kernel=st.tuples(st.integers(2, 3), st.integers(2, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(*[st.integers(0, 1)] * 4),
    count=st.integers(0, 1),
)
def test_pools(
    op: str, kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, int, int, int], count: int
) -> None:
    sketch = Sketch(x=("N", 3, 6, 7))
    more = {"count_include_pad": count} if op == "AveragePool" else {}
    if op == "MaxPool":
        # ONNX's reference evaluator mixes up the sides of uneven padding here.
        pads = (pads[0],) * 4
    assert_gradients(sketch, sketch.add(op, "x", kernel_shape=kernel, strides=strides, pads=pads, **more))


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("Relu", {}),
        ("LeakyRelu", {"alpha": 0.2}),
        ("Sigmoid", {}),
        ("Tanh", {}),
        ("Elu", {"alpha": 0.5}),
        ("Softplus", {}),
        ("Sin", {}),
        ("HardSigmoid", {"alpha": 0.4, "beta": 0.4}),
        ("HardSwish", {}),
        ("GlobalAveragePool", {}),
        ("Flatten", {}),
        ("Transpose", {"perm": [0, 2, 3, 1]}),
    ],
)
def test_functions_of_one_value(op: str, attributes: dict[str, Any]) -> None:
    sketch = Sketch(x=("N", 3, 4, 5))
    # Spread out, so that every piece of a piecewise function is met.
    assert_gradients(sketch, sketch.add(op, sketch.add("Mul", "x", 3.0), **attributes))


@pytest.mark.parametrize(
    ("op", "operands"),
    [
        ("Clip", [np.array(-0.5, np.float32), np.array(0.8, np.float32)]),
        ("Clip", [None, np.array(0.8, np.float32)]),
        ("Min", [np.abs(normal(1, 3, 1, 1)) / 2]),
        ("PRelu", [normal(3, 1, 1)]),
        ("Add", [normal(1, 3, 1, 1)]),
        ("Sub", [normal(1, 3, 1, 1)]),
        ("Mul", [normal(1, 3, 1, 1)]),
        ("MatMul", [normal(5, 6)]),
    ],
)
def test_functions_with_constants(op: str, operands: list[Array | None]) -> None:
    sketch = Sketch(x=("N", 3, 4, 5))
    assert_gradients(sketch, sketch.add(op, "x", *operands))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 1, 1), (1, 4, 5)])
def test_two_operands_of_which_one_may_broadcast(op: str, shape: tuple[int, ...]) -> None:
    for pair in (["x", "z"], ["z", "x"]):
        sketch = Sketch(x=("N", 3, 4, 5), z=("N", *shape))
        # A gradient that is a constant throughout would be no output that ONNX Runtime gives.
        assert_gradients(sketch, sketch.add("Sigmoid", sketch.add(op, *pair)))


def test_a_value_that_is_read_twice() -> None:
    sketch = Sketch(x=("N", 3, 4, 5))
    gate = sketch.add("Sigmoid", sketch.add("GlobalAveragePool", "x"))
    assert_gradients(sketch, sketch.add("Add", sketch.add("Mul", "x", gate), sketch.add("Mul", "x", "x")))


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_concat(axis: int) -> None:
    sketch = Sketch(x=("N", 3, 4, 5), z=("N", 3, 4, 5))
    assert_gradients(sketch, sketch.add("Concat", "z", sketch.add("Relu", "x"), "z", axis=axis))


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [([0, 1], [8, 7], [2, 3], [2, 3]), ([-1], [-100], [2], [-2]), ([1], [3], [1], [1])],
)
def test_slices(starts: list[int], ends: list[int], axes: list[int], steps: list[int]) -> None:
    sketch = Sketch(x=("N", 4, 8, 7))
    places = [sketch.hold(np.array(numbers, np.int64)) for numbers in (starts, ends, axes, steps)]
    assert_gradients(sketch, sketch.add("Relu", sketch.add("Slice", "x", *places)))


def test_pad_reshape_and_gemm() -> None:
    sketch = Sketch(x=("N", 2, 3, 3))
    padded = sketch.add("Pad", sketch.add("Relu", "x"), sketch.hold(np.array([0, 1, 0, 2, 0, 0, 1, 0], np.int64)))
    flat = sketch.add("Reshape", padded, sketch.hold(np.array([0, -1], np.int64)))
    assert_gradients(sketch, sketch.add("Gemm", flat, normal(7, 60), normal(7), transB=1))


def test_every_legal_op_but_three_has_a_rule() -> None:
    assert set(LEGAL) - set(RULES) == {"LayerNormalization", "Resize", "Softmax"}


def test_the_loss_of_distillation() -> None:
    """Its gradient in the input, against differences of the loss itself, which is smooth in a linear model."""
    sketch = Sketch(x=("N", 3, 5, 5))
    first = sketch.add("Conv", "x", normal(4, 3, 3, 3), normal(4))
    second = sketch.add("Conv", sketch.add("Sigmoid", first), normal(6, 4, 1, 1, seed=1), normal(6))
    graph = load_graph(sketch.model(second))
    Pipeline.parse(NORMALISE).run(Module(graph, Target("test", "none")))
    wanted = {
        first: ClippedNormal.of(normal(4, seed=2), np.full(4, 2.0)),
        second: ClippedNormal.of(normal(6, seed=3), np.full(6, 0.5)),
    }
    work = prepared(graph, wanted, BATCH)
    assert not isinstance(work, list)
    x = normal(BATCH, 3, 5, 5, seed=4)
    gradient = work.session.run({"x": x})[work.gradients["x"]]
    for seed in range(3):
        direction = normal(*x.shape, seed=10 + seed)
        ends = [float(work.session.run({"x": x + np.float32(h) * direction})[work.loss]) for h in (1e-2, -1e-2)]
        along, scale = float((gradient * direction).sum()), float(np.abs(gradient * direction).sum())
        assert along == pytest.approx((ends[0] - ends[1]) / 2e-2, abs=0.01 * scale)
