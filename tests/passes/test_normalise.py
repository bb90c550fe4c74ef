"""The whole of normalisation: every real model, every opset's idioms, and stacks of both at random."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.dataset import Dataset
from bitsmith.importing.load import load_graph
from bitsmith.ir.legal import illegal_nodes
from bitsmith.pipelines import NORMALISE
from tests.sketch import Array, Sketch, apply, assert_same, normal, ops, run

Draw = Any

SHARED = [
    "autoencoder_ad",
    "autoencoder_ad_tfl",
    "dscnn_kws",
    "dscnn_kws_tfl",
    "jet_mlp_3layer_NODATA",
    "jet_mlp_3layer_bn_NODATA",
    "mnist_cnn",
    "mobilenetv1_025_vww",
    "mobilenetv2_imagenet_deq",
    "mobilenetv2s_cifar10",
    "resnet20_cifar10",
    "resnet8_cifar10",
]
DATA = {"autoencoder_ad_tfl": "autoencoder_ad"}


def _samples(model_file: Callable[[str], Path], name: str, inputs: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    """Eight real calibration samples, or drawn ones for a model that has no data."""
    if name.endswith("NODATA"):
        return {key: normal(8, *shape) for key, shape in inputs.items()}
    path = model_file(f"{DATA.get(name, name)}.calib.npz")
    return dict(next(iter(Dataset.open(path, inputs).take(8).batches(8))))


@pytest.mark.parametrize("name", SHARED)
def test_a_real_model_becomes_legal_and_keeps_its_outputs(model_file: Callable[[str], Path], name: str) -> None:
    path = model_file(f"{name}.onnx")
    graph, _ = apply(NORMALISE, load_graph(path))
    assert illegal_nodes(graph) == []
    assert "BatchNormalization" not in ops(graph)
    inputs = _samples(model_file, name, {value.name: value.sample_shape for value in graph.inputs})
    (want,), (found,) = run(onnx.load(path), **inputs), run(graph.to_onnx(), **inputs)
    # Folded weights round once more: each product is off by 2^-24 or so, and some fifty layers add that up.
    assert np.abs(found - want).max() <= 1e-4 * np.abs(want).max()


def test_no_model_is_left_out(models: Path) -> None:
    assert {path.stem for path in models.glob("*.onnx")} == set(SHARED)


def test_the_model_in_the_repository(digits: Path) -> None:
    graph, _ = apply(NORMALISE, load_graph(digits / "digits.onnx"))
    assert illegal_nodes(graph) == []
    assert_same(onnx.load(digits / "digits.onnx"), graph)


@pytest.mark.parametrize("name", ["mnist_cnn", "resnet20_cifar10"])
def test_a_model_that_is_legal_already_is_not_changed(model_file: Callable[[str], Path], name: str) -> None:
    graph, _ = apply(NORMALISE, load_graph(model_file(f"{name}.onnx")))
    before = graph.to_onnx()
    _, changes = apply(NORMALISE, graph)
    assert changes.made == []
    assert graph.to_onnx() == before


@pytest.mark.parametrize("name", ["mnist_cnn", "mobilenetv2s_cifar10", "autoencoder_ad"])
def test_a_real_model_with_a_fixed_batch_becomes_dynamic(model_file: Callable[[str], Path], name: str) -> None:
    """The batch fixed to 1 in the inputs, and baked into the target of what was a Flatten."""
    original = onnx.load(model_file(f"{name}.onnx"))
    fixed = onnx.ModelProto()
    fixed.CopyFrom(original)
    for value in [*fixed.graph.input, *fixed.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del fixed.graph.value_info[:]
    for node in fixed.graph.node:
        if node.op_type == "Flatten":
            node.op_type = "Reshape"
            del node.attribute[:]
            fixed.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, -1]), "target"))
            node.input.append("target")
    graph, _ = apply(NORMALISE, load_graph(fixed))
    assert illegal_nodes(graph) == []
    assert_same(original, graph, batch=4, tolerance=1e-4)


# Layers as exporters write them: each takes a value and its sample shape and gives the next.

Shape = tuple[int, ...]
Layer = Callable[[Draw, Sketch, str, Shape], tuple[str, Shape]]


def _convolution(draw: Draw, s: Sketch, x: str, shape: Shape) -> tuple[str, Shape]:
    channels, padding = draw(st.integers(1, 4)), draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "NOTSET"]))
    depthwise = draw(st.booleans())
    weight = normal(shape[0] if depthwise else channels, 1 if depthwise else shape[0], 3, 3) / np.float32(3)
    pads = {} if padding != "NOTSET" else {"pads": [1, 1, 1, 1]}
    bias = [normal(len(weight))] if draw(st.booleans()) else []
    y = s.add("Conv", x, weight, *bias, auto_pad=padding, group=shape[0] if depthwise else 1, **pads)
    return y, (len(weight), *shape[1:])


def _normalisation(draw: Draw, s: Sketch, x: str, shape: Shape) -> tuple[str, Shape]:
    n = shape[0]
    y = s.add("BatchNormalization", x, normal(n), normal(n), normal(n, seed=1), np.abs(normal(n, seed=2)) + 0.3)
    return y, shape


def _affine(draw: Draw, s: Sketch, x: str, shape: Shape) -> tuple[str, Shape]:
    constant = draw(st.sampled_from([np.float32(0.7), np.abs(normal(shape[0], 1, 1)) + np.float32(0.2)]))
    return s.add(draw(st.sampled_from(["Add", "Sub", "Mul", "Div"])), x, constant), shape


def _activation(draw: Draw, s: Sketch, x: str, shape: Shape) -> tuple[str, Shape]:
    op = draw(st.sampled_from(["Relu", "Clip", "HardSwish", "written out", "Sigmoid", "LeakyRelu", "Silu", "PRelu"]))
    if op == "Clip":
        return s.add("Clip", x, np.float32(0), np.float32(6)), shape
    if op == "written out":
        gate = s.add("Clip", s.add("Add", x, np.float32(3)), np.float32(0), np.float32(6))
        return s.add("Div", s.add("Mul", x, gate), np.float32(6)), shape
    if op == "Silu":
        return s.add("Mul", x, s.add("Sigmoid", x)), shape
    if op == "PRelu":
        return s.add("PRelu", x, normal(shape[0], 1, 1)), shape
    return s.add(op, x), shape


def _pool(draw: Draw, s: Sketch, x: str, shape: Shape) -> tuple[str, Shape]:
    op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    counted = {"count_include_pad": draw(st.integers(0, 1))} if op == "AveragePool" else {}
    pads = draw(st.sampled_from([[0, 0, 0, 0], [1, 0, 1, 1]])) if min(shape) > 1 else [1, 0, 1, 1]
    y = s.add(op, x, kernel_shape=[2, 2], pads=pads, ceil_mode=draw(st.integers(0, 1)), **counted)
    return y, (shape[0], shape[1] - 1 + pads[0] + pads[2], shape[2] - 1 + pads[1] + pads[3])


def _padding(draw: Draw, s: Sketch, x: str, shape: Shape) -> tuple[str, Shape]:
    amounts = [draw(st.integers(0, 1)) for _ in range(4)]
    value = draw(st.sampled_from([0.0, 0.0, 1.0]))
    y = s.add("Pad", x, np.array([0, 0, *amounts[:2], 0, 0, *amounts[2:]]), np.float32(value))
    return y, (shape[0], shape[1] + amounts[0] + amounts[2], shape[2] + amounts[1] + amounts[3])


def _residual(draw: Draw, s: Sketch, x: str, shape: Shape) -> tuple[str, Shape]:
    y, _ = _activation(draw, s, x, shape)
    return s.add("Add", y, x), shape


def _halves(draw: Draw, s: Sketch, x: str, shape: Shape) -> tuple[str, Shape]:
    doubled = s.add("Concat", x, s.add("Neg", x), axis=1)
    first, second = s.add("Split", doubled, np.array([shape[0], shape[0]]), axis=1, outputs=2)
    return s.add("Sub", first, second), shape


def _nothing(draw: Draw, s: Sketch, x: str, shape: Shape) -> tuple[str, Shape]:
    y = s.add("Transpose", s.add("Identity", s.add("Dropout", x)), perm=[0, 2, 3, 1])
    return s.add("Transpose", y, perm=[0, 3, 1, 2]), shape


def _enlarge(draw: Draw, s: Sketch, x: str, shape: Shape) -> tuple[str, Shape]:
    scales = np.array([1, 1, 2, 1], np.float32)
    y = s.add(
        "Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
    return y, (shape[0], 2 * shape[1], shape[2])


def _shuffle(draw: Draw, s: Sketch, x: str, shape: Shape) -> tuple[str, Shape]:
    """Swap space by a reshape whose target is computed, as exporters write a view."""
    dims = [s.add("Gather", s.add("Shape", x), np.array([axis])) for axis in (0, 1)]
    y = s.add("Reshape", x, s.add("Concat", *dims, np.array([shape[2], -1]), axis=0))
    return y, (shape[0], shape[2], shape[1])


def _head(draw: Draw, s: Sketch, x: str, shape: Shape) -> str:
    kind = draw(st.sampled_from(["mean", "global", "flatten", "tokens"]))
    if kind == "tokens":
        y = s.add("Reshape", x, np.array([0, shape[0], -1]))
        width = shape[1] * shape[2]
        return str(s.add("Add", s.add("MatMul", y, normal(width, 3) / np.float32(width)), normal(3)))
    width = shape[0]
    if kind == "mean":
        y = s.add("ReduceMean", x, axes=[2, 3], keepdims=0)
    elif kind == "global":
        y = s.add("Flatten", s.add("GlobalAveragePool", x))
    else:
        y, width = s.add("Flatten", x), shape[0] * shape[1] * shape[2]
    if draw(st.booleans()):
        y = s.add("Add", s.add("MatMul", y, normal(width, 3)), normal(3))
    else:
        y = s.add("Gemm", y, normal(3, width), normal(3), transB=1, alpha=0.5)
    return str(s.add("Softmax", y) if draw(st.booleans()) else y)


LAYERS: list[Layer] = [
    _activation, _affine, _convolution, _enlarge, _halves, _normalisation,
    _nothing, _padding, _pool, _residual, _shuffle,
]  # fmt: skip


@given(st.data(), st.lists(st.sampled_from(LAYERS), max_size=7), st.sampled_from(["N", 1]))
def test_any_stack_of_layers_becomes_legal_and_keeps_its_outputs(
    data: st.DataObject, layers: list[Layer], batch: int | str
) -> None:
    sketch = Sketch(x=(batch, 2, 4, 3))
    x, shape = "x", (2, 4, 3)
    for layer in layers:
        x, shape = layer(data.draw, sketch, x, shape)
    model = sketch.model(_head(data.draw, sketch, x, shape))
    graph, _ = apply(NORMALISE, model)
    assert illegal_nodes(graph) == []
    free = onnx.ModelProto()
    free.CopyFrom(model)
    free.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    assert_same(free, graph, tolerance=1e-4)
