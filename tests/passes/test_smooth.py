"""smooth: the same function, with outlying channels of activations taken over by the weights that read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from bitsmith.dataset import Dataset
from bitsmith.errors import ModelError, PipelineError
from bitsmith.importing.load import load_graph
from bitsmith.ir.formats import IntegerType, Plan, symmetric
from bitsmith.ir.graph import Graph
from bitsmith.manager import Changes, Pipeline, Step
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.sketch import Array, Sketch, assert_same, normal, run

TOKENS, WIDTH, WIDE = 6, 16, 24
OUTLIERS = [3, 11]


def gain(outlier: float = 30.0, channels: int = WIDTH) -> Array:
    """A normalisation's gain, in which some channels stand out as they do in language models."""
    made = np.random.default_rng(5).uniform(0.5, 1.5, channels).astype(np.float32)
    made[[one % channels for one in OUTLIERS]] *= np.float32(outlier)
    return made


def attention(sketch: Sketch, x: str) -> str:
    """LayerNorm, then Q, K and V with biases, one head."""
    norm = sketch.add("LayerNormalization", x, gain(), normal(WIDTH, seed=6), axis=-1)
    q, k, v = (
        sketch.add("Add", sketch.add("MatMul", norm, normal(WIDTH, WIDTH, seed=seed) / 4), normal(WIDTH, seed=seed))
        for seed in (1, 2, 3)
    )
    scores = sketch.add("MatMul", q, sketch.add("Transpose", k, perm=[0, 2, 1]))
    return str(sketch.add("MatMul", sketch.add("Softmax", sketch.add("Mul", scores, np.float32(0.01)), axis=-1), v))


def mlp(sketch: Sketch, x: str) -> str:
    """LayerNorm, then two layers with a Relu between."""
    norm = sketch.add("LayerNormalization", x, gain(), normal(WIDTH, seed=7), axis=-1)
    hidden = sketch.add("MatMul", norm, normal(WIDTH, WIDE, seed=8) / 4)
    hidden = sketch.add("Relu", sketch.add("Add", hidden, normal(WIDE, seed=9)))
    return str(sketch.add("Add", sketch.add("MatMul", hidden, normal(WIDE, WIDTH, seed=10) / 5), normal(WIDTH)))


def transformer() -> onnx.ModelProto:
    sketch = Sketch(x=("N", TOKENS, WIDTH))
    x = sketch.add("Add", "x", attention(sketch, "x"))
    return sketch.model(sketch.add("Add", x, mlp(sketch, x)))


def samples(graph: Graph, count: int = 32, seed: int = 20) -> dict[str, Array]:
    return {value.name: normal(count, *value.sample_shape, seed=seed) for value in graph.inputs}


def smoothed(
    model: onnx.ModelProto, options: str = "", before: str = NORMALISE, **module: Any
) -> tuple[Graph, Changes, Module]:
    """The model after these passes, and what smooth makes of it."""
    graph, every = load_graph(model), Changes()
    made = Module(graph, Target(name="test", backend="test"), Dataset.from_arrays(samples(graph)), **module)

    def collect(step: Step) -> None:
        if step.done is not None and step.done.name == "smooth":
            every.made.extend(step.changes.made)
            every.refused.extend(step.changes.refused)

    Pipeline.parse(f"{before},smooth{{{options}}}").run(made, [collect])
    return graph, every, made


def quantized(graph: Graph, activations: int, weights: int, data: dict[str, Array]) -> onnx.ModelProto:
    """The graph with each linear op's weight rounded per output channel, and its input by a Quantize/Dequantize pair.

    Ranges of inputs are the extremes on `data`, found by ONNX Runtime.
    """
    model = graph.to_onnx()
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    linear = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm", "Conv") and node.input[1] in held]
    levels = 2**activations - 1
    pairs: dict[str, list[onnx.NodeProto]] = {}
    for node, x in zip(linear, tapped(model, [node.input[0] for node in linear], data), strict=True):
        axis = 1 if node.op_type == "MatMul" else 0
        weight = np.moveaxis(numpy_helper.to_array(held[node.input[1]]), axis, 0)
        scale = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True) / (2 ** (weights - 1) - 1)
        rounded = np.moveaxis(np.rint(weight / scale) * scale, 0, axis).astype(np.float32)
        held[node.input[1]].CopyFrom(numpy_helper.from_array(rounded, node.input[1]))
        name = node.input[0]
        if name not in pairs:
            step = np.float32((max(x.max(), 0) - min(x.min(), 0)) / levels)
            zero = np.float32(np.rint(-min(x.min(), 0) / step))
            constants = {"step": step, "zero": zero, "none": np.float32(0), "all": np.float32(levels)}
            for key, number in constants.items():
                model.graph.initializer.append(numpy_helper.from_array(np.asarray(number), f"{name}.{key}"))
            pairs[name] = [
                helper.make_node("Div", [name, f"{name}.step"], [f"{name}.0"]),
                helper.make_node("Round", [f"{name}.0"], [f"{name}.1"]),
                helper.make_node("Add", [f"{name}.1", f"{name}.zero"], [f"{name}.2"]),
                helper.make_node("Clip", [f"{name}.2", f"{name}.none", f"{name}.all"], [f"{name}.3"]),
                helper.make_node("Sub", [f"{name}.3", f"{name}.zero"], [f"{name}.4"]),
                helper.make_node("Mul", [f"{name}.4", f"{name}.step"], [f"{name}.rounded"]),
            ]
        node.input[0] = f"{name}.rounded"
    nodes: list[onnx.NodeProto] = []
    ready = [name for name in pairs if name in data]
    for node in [None, *model.graph.node]:
        nodes.extend([node] if node is not None else [])
        for name in ready if node is None else [one for one in node.output if one in pairs]:
            nodes.extend(pairs[name])
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def tapped(model: onnx.ModelProto, names: Sequence[str], data: dict[str, Array]) -> list[Array]:
    """What ONNX Runtime makes of these values."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    computed = [name for name in dict.fromkeys(names) if name not in data]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in computed)
    found = {**data, **(dict(zip(computed, run(copy, **data), strict=True)) if computed else {})}
    return [found[name] for name in names]


def loss(model: onnx.ModelProto, graph: Graph, *, weights: int = 8, activations: int = 8, seed: int = 77) -> float:
    """The squared error of the rounded graph's outputs over their power, on samples that nothing was chosen on."""
    fresh = samples(graph, 64, seed)
    (wanted,) = run(model, **fresh)
    (found,) = run(quantized(graph, activations, weights, samples(graph)), **fresh)
    return float(np.square(found - wanted).sum() / np.square(wanted).sum())


@pytest.mark.parametrize(("weights", "activations"), [(8, 8), (8, 6), (4, 8)])
def test_a_transformer_block_keeps_its_function_and_loses_less_to_rounding(weights: int, activations: int) -> None:
    model = transformer()
    plain = load_graph(model)
    Pipeline.parse(NORMALISE).run(Module(plain, Target(name="test", backend="test")))
    graph, changes, _ = smoothed(model, f"weights={weights},activations={activations}")
    assert_same(model, graph)
    assert sum("for 3 readers" in made for made in changes.made) == 1
    assert sum("for 1 readers" in made for made in changes.made) >= 1
    before = loss(model, plain, weights=weights, activations=activations)
    after = loss(model, graph, weights=weights, activations=activations)
    assert after < before / 2, (before, after)


def one_layer(seed: int = 1, outlier: float = 30.0) -> onnx.ModelProto:
    sketch = Sketch(x=("N", TOKENS, WIDTH))
    norm = sketch.add("LayerNormalization", "x", gain(outlier), normal(WIDTH, seed=6), axis=-1)
    return sketch.model(sketch.add("MatMul", norm, normal(WIDTH, WIDE, seed=seed)))


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.5, 0.8])
def test_the_scale_is_that_of_equation_4(strength: float) -> None:
    model = one_layer()
    before = load_graph(model)
    (norm,) = before.nodes("LayerNormalization")
    (x,) = tapped(before.to_onnx(), [norm.output.name], samples(before))
    weight = before.nodes("MatMul")[0].constant(1)
    assert weight is not None
    s = np.abs(x).max(axis=(0, 1)) ** strength / np.abs(weight).max(axis=1) ** (1 - strength)
    s /= np.exp(np.log(s).mean())
    graph, changes, _ = smoothed(model, f"strength={strength},activations=4")
    if not changes.made:
        assert strength == 0.0
        return
    ((smooth_norm,), (matmul,)) = graph.nodes("LayerNormalization"), graph.nodes("MatMul")
    for index in (1, 2):
        was, now = norm.constant(index), smooth_norm.constant(index)
        assert was is not None
        np.testing.assert_allclose(now, was / s, rtol=1e-5)
    np.testing.assert_allclose(matmul.constant(1), weight * s[:, None], rtol=1e-5)


def test_the_strength_is_the_one_that_loses_least() -> None:
    model = one_layer(seed=3)
    graph = load_graph(model)
    calibration = samples(graph)
    (wanted,) = run(model, **calibration)

    def error(options: str) -> float:
        made, changes, _ = smoothed(model, options)
        assert changes.made
        (found,) = run(quantized(made, 8, 8, calibration), **calibration)
        return float(np.square(found - wanted).sum())

    fixed = [error(f"strength={strength}") for strength in np.linspace(0.2, 1, 9)]
    assert error("steps=10") <= min(fixed) * 1.001
    assert max(fixed) > 1.5 * min(fixed)


SOURCES = ["Conv", "depthwise", "BatchNormalization", "Mul", "Div"]
BETWEEN = ["none", "Relu", "LeakyRelu", "PRelu", "Add", "Sub", "from", "Clip", "MaxPool"]


def source(sketch: Sketch, op: str) -> str:
    wide = gain(100, 4)
    if op in ("Mul", "Div"):
        held = (wide if op == "Mul" else 1 / wide).reshape(4, 1, 1)
        return str(sketch.add(op, sketch.add("Sigmoid", "x"), held))
    if op == "BatchNormalization":
        held = sketch.add("Sigmoid", "x")
        return str(sketch.add(op, held, wide, normal(4), normal(4, seed=1), np.ones(4, np.float32)))
    groups = 4 if op == "depthwise" else 1
    weight = normal(4, 4 // groups, 3, 3, seed=2) * wide.reshape(4, 1, 1, 1)
    return str(sketch.add("Conv", "x", weight, normal(4), group=groups, pads=[1, 1, 1, 1]))


def between(sketch: Sketch, op: str, x: str) -> str:
    if op == "PRelu":
        return str(sketch.add(op, x, normal(4, 1, 1, seed=3)))
    if op in ("Add", "Sub"):
        return str(sketch.add(op, x, normal(4, 1, 1, seed=4)))
    if op == "from":
        return str(sketch.add("Sub", normal(1, 4, 1, 1, seed=4), x))
    if op == "Clip":
        return str(sketch.add(op, x, np.float32(0), np.float32(6)))
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]} if op.endswith("Pool") else {}
    return x if op == "none" else str(sketch.add(op, x, **pool))


@settings(max_examples=30)
@given(
    st.sampled_from(SOURCES),
    st.lists(st.sampled_from(BETWEEN), max_size=2),
    st.sampled_from([1, 2, 4]),
    st.booleans(),
    st.integers(0, 9),
)
def test_images_keep_their_function(op: str, ops: list[str], groups: int, twice: bool, seed: int) -> None:
    sketch = Sketch(x=("N", 4, 5, 5))
    y = source(sketch, op)
    for one in ops:
        y = between(sketch, one, y)
    read = [
        sketch.add("Conv", y, normal(4, 4 // groups, 3, 3, seed=seed + i), normal(4), group=groups, pads=[1, 1, 0, 0])
        for i in range(1 + twice)
    ]
    model = sketch.model(sketch.add("Concat", *read, axis=1) if twice else read[0])
    graph = load_graph(model)
    made, changes = (
        Module(graph, Target(name="test", backend="test"), Dataset.from_arrays(samples(graph, 8))),
        Changes(),
    )
    Pipeline.parse("explicit-padding,smooth{strength=0.7,activations=6}").run(
        made, [lambda step: changes.made.extend(step.changes.made) if step.index == 2 else None]
    )
    if ops == [] and op != "BatchNormalization":
        assert changes.made
    assert_same(model, graph, tolerance=1e-4)


def test_gemms_keep_their_function_and_their_error_falls() -> None:
    sketch = Sketch(x=("N", WIDTH))
    y = sketch.add(
        "Relu", sketch.add("Gemm", "x", normal(WIDE, WIDTH) * gain(50, WIDE)[:, None], normal(WIDE), transB=1)
    )
    y = sketch.add("PRelu", sketch.add("Gemm", y, normal(WIDE, WIDE, seed=1), normal(WIDE), transB=1), normal(WIDE))
    model = sketch.model(sketch.add("Gemm", y, normal(WIDE, 5, seed=2), normal(5), alpha=0.5))
    plain = load_graph(model)
    Pipeline.parse(NORMALISE).run(Module(plain, Target(name="test", backend="test")))
    graph, changes, _ = smoothed(model)
    assert changes.made
    assert_same(model, graph)
    assert loss(model, graph) < loss(model, plain) / 2


def reasons(model: onnx.ModelProto, options: str = "") -> list[str]:
    graph, changes, _ = smoothed(model, options, before="remove-no-ops")
    assert_same(model, graph)
    return [reason for _, reason in changes.refused]


def matmul(sketch: Sketch, x: str, seed: int = 1) -> str:
    return str(sketch.add("MatMul", x, normal(WIDTH, WIDTH, seed=seed)))


def norm(sketch: Sketch, x: str, **attributes: Any) -> str:
    return str(sketch.add("LayerNormalization", x, gain(), normal(WIDTH), **{"axis": -1, **attributes}))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda s: [matmul(s, "x")], "is an input of the graph"),
        (lambda s: [n := norm(s, "x"), matmul(s, n)], "is an output of the graph"),
        (lambda s: [s.add("Add", n := norm(s, "x"), matmul(s, n))], "reads v0_0 too"),
        (lambda s: [matmul(s, s.add("Add", n := norm(s, "x"), matmul(s, n)), 2)], "joins two computed values"),
        (lambda s: [matmul(s, s.add("Sigmoid", norm(s, "x")))], "is not known to commute"),
        (lambda s: [matmul(s, s.add("Relu", n := norm(s, "x"))), s.add("Sigmoid", n)], "is used elsewhere too"),
        (lambda s: [matmul(s, s.add("Add", norm(s, "x"), normal(TOKENS, 1)))], "varies along another axis"),
        (lambda s: [matmul(s, s.add("Mul", "x", s.add("Sigmoid", "x")))], "joins two computed values"),
        (lambda s: [matmul(s, s.add("Conv", "x", normal(TOKENS, TOKENS, 1)))], "makes channels along axis 1"),
        (lambda s: [matmul(s, s.add("Softmax", norm(s, "x"), axis=-1))], "is not known to commute"),
    ],
)
def test_what_cannot_take_the_scale_is_refused(build: Any, reason: str) -> None:
    sketch = Sketch(x=("N", TOKENS, WIDTH))
    made = build(sketch)
    assert any(reason in one for one in reasons(sketch.model(*made)))


def test_a_gain_for_several_axes_is_refused() -> None:
    sketch = Sketch(x=("N", TOKENS, WIDTH))
    wide = [normal(TOKENS, WIDTH, seed=seed) for seed in (1, 2)]
    model = sketch.model(matmul(sketch, sketch.add("LayerNormalization", "x", *wide, axis=1)))
    assert any("a gain for more or other axes" in one for one in reasons(model))


def even() -> onnx.ModelProto:
    """A layer whose weights are all 1 or -1, so that strength 0 scales nothing."""
    sketch = Sketch(x=("N", TOKENS, WIDTH))
    return sketch.model(sketch.add("MatMul", norm(sketch, "x"), np.sign(normal(WIDTH, WIDTH, seed=2))))


def test_what_gains_nothing_is_left_alone() -> None:
    (reason,) = reasons(even(), "strength=0")
    assert "no strength loses less" in reason


def test_what_is_always_zero_is_left_alone() -> None:
    sketch = Sketch(x=("N", TOKENS, WIDTH))
    model = sketch.model(matmul(sketch, sketch.add("LayerNormalization", "x", np.zeros(WIDTH, np.float32), axis=-1)))
    assert any("is always 0" in one for one in reasons(model))


def test_dead_channels_are_scaled_within_bounds() -> None:
    dead, weight = gain(), normal(WIDTH, WIDE, seed=1)
    dead[0], weight[1] = 0, 0
    sketch = Sketch(x=("N", TOKENS, WIDTH))
    model = sketch.model(sketch.add("MatMul", sketch.add("LayerNormalization", "x", dead, axis=-1), weight))
    graph, changes, _ = smoothed(model)
    assert changes.made
    assert_same(model, graph)


def test_weights_that_share_one_scale_are_not_spread() -> None:
    found = reasons(transformer(), "granularity=tensor")
    assert sum("has one scale, which its channels would spread over" in one for one in found) == 1


def test_statistics_of_what_was_before_are_gone() -> None:
    model = one_layer()
    graph = load_graph(model)
    module = Module(graph, Target(name="test", backend="test"), Dataset.from_arrays(samples(graph)))
    Pipeline.parse("calibrate,smooth").run(module)
    with pytest.raises(PipelineError, match="no pass before it took"):
        module.require_statistics()
    kept = Module(load_graph(even()), module.target, module.calibration)
    Pipeline.parse("calibrate,smooth{strength=0}").run(kept)
    assert kept.require_statistics().samples == 32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("weights=2", "2 bits"),
        ("activations=17", "17 bits"),
        ("granularity=row", "granularity=row"),
        ("strength=1.5", "strength=1.5"),
        ("steps=0", "steps=0"),
    ],
)
def test_options_out_of_range_are_refused(options: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        smoothed(one_layer(), options)


def test_formats_decided_before_are_refused() -> None:
    with pytest.raises(PipelineError, match="Put smooth before"):
        smoothed(one_layer(), plan=Plan({"x": symmetric(1.0, IntegerType(8))}))


def test_activations_that_are_not_finite_are_refused() -> None:
    sketch = Sketch(x=("N", TOKENS, WIDTH))
    huge = sketch.add("Mul", sketch.add("Mul", "x", np.float32(3e38)), np.float32(1e38))
    graph = load_graph(sketch.model(matmul(sketch, huge)))
    module = Module(graph, Target(name="test", backend="test"), Dataset.from_arrays(samples(graph)))
    with pytest.raises(ModelError, match="NaN or infinite"):
        Pipeline.parse("smooth").run(module)


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = (smoothed(transformer(), seed=4)[0].to_onnx().SerializeToString() for _ in range(2))
    assert first == second
