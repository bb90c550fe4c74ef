"""Mutated models: imported and normalised, and compiled whole."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from bitsmith.driver import compile as compile_model
from bitsmith.importing.load import load_graph
from bitsmith.importing.quantized.load import is_quantized
from bitsmith.legality import check
from bitsmith.recipe import Recipe
from bitsmith.runners import FloatModel
from tests.compiler.importing.quantized.sketches import QuantizedSketch, integers
from tests.fuzz.fuzz_target import FuzzTarget, every
from tests.fuzz.mutations import message_of
from tests.integration.onnx_node_tests import CONSTANT, cases, read_case
from tests.sketch import Sketch, normal

EVERY = 3
"""One in so many of ONNX's own tests is a seed."""

ELEMENTS = 4096
"""Of an input's sample, at most, in a model that is compiled whole."""

SHAPE = (1, 2, 6, 6)
WORDS = (
    *sorted({schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}),
    *("", "ai.onnx", "com.microsoft", "pads", "strides", "axis", "axes", "group", "perm", "mode", "to", "kernel_shape"),
    *("auto_pad", "SAME_UPPER", "VALID", "NOTSET", "constant", "reflect", "nearest", "allowzero", "keepdims"),
)


def small_models() -> Iterator[onnx.ModelProto]:
    """Models of a few nodes that compile, of the ops that most models are made of."""
    for opset in (7, 11, 13, 17, 21, 23):
        sketch = Sketch(opset, 8 if opset < 23 else 10, x=("N", *SHAPE[1:]))
        found = sketch.add("Conv", "x", normal(4, 2, 3, 3), normal(4), pads=[1, 1, 1, 1])
        statistics = (normal(4), normal(4), normal(4), np.abs(normal(4)))
        found = sketch.add("Relu", sketch.add("BatchNormalization", found, *statistics))
        found = sketch.add("MaxPool", found, kernel_shape=[2, 2], strides=[2, 2])
        found = sketch.add("Conv", found, normal(4, 1, 3, 3), group=4, pads=[1, 1, 1, 1])
        found = sketch.add("GlobalAveragePool", sketch.add("Add", found, found))
        yield sketch.model(sketch.add("Gemm", sketch.add("Flatten", found), normal(4, 3), normal(3)))
    sketch = Sketch(17, x=("N", 4, 6))
    keys = sketch.add("Transpose", sketch.add("MatMul", "x", normal(6, 6)), perm=[0, 2, 1])
    found = sketch.add("MatMul", sketch.add("Softmax", sketch.add("MatMul", "x", keys), axis=-1), "x")
    found = sketch.add("LayerNormalization", sketch.add("Add", found, "x"), normal(6), normal(6))
    yield sketch.model(sketch.add("Sigmoid", sketch.add("Mul", found, 0.5)))
    sketch = Sketch(13, x=SHAPE, z=SHAPE)
    found = sketch.add("Concat", "x", sketch.add("HardSwish" if sketch.opset > 13 else "Tanh", "z"), axis=1)
    found = sketch.add("Slice", found, np.array([1]), np.array([3]), np.array([1]))
    found = sketch.add("Pad", found, np.array([0, 0, 1, 1, 0, 0, 1, 1]), 0.0)
    yield sketch.model(sketch.add("Reshape", found, np.array([1, -1])))
    twice = QuantizedSketch(17, x=("N", *SHAPE[1:]))
    rounded = twice.rounded("x", 0.02)
    found = twice.add("Conv", rounded, twice.weight(integers(4, 2, 3, 3), np.full(4, 0.01)))
    yield twice.quantized(twice.rounded(twice.add("Relu", found), 0.05, output="out"))


def models() -> Iterator[bytes]:
    """The small models, and ONNX's own tests with their operands stored as weights are."""
    for model in small_models():
        yield model.SerializeToString()
    for folder in cases()[::EVERY]:
        try:
            yield read_case(folder, CONSTANT)[0].SerializeToString()
        except (TypeError, NotImplementedError, ValueError):
            continue  # Its data are no arrays.


def check_model(given: bytes) -> None:
    """What `bitsmith check` does, and what `bitsmith evaluate` begins with."""
    with tempfile.TemporaryDirectory(prefix="bitsmith-fuzz-") as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(given)
        every(lambda: check(path, "onnxruntime"), lambda: FloatModel(path))


def compile_whole(given: bytes) -> None:
    """What `bitsmith compile` does, on random samples."""
    with tempfile.TemporaryDirectory(prefix="bitsmith-fuzz-") as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(given)
        data = None
        if not is_quantized(path):
            shapes = {value.name: value.sample_shape for value in load_graph(path).inputs}
            if any(np.prod(shape) > ELEMENTS for shape in shapes.values()):
                return
            data = Path(folder, "data.npz")
            try:
                np.savez(data, **{name: normal(4, *shape) for name, shape in shapes.items()})
            except (OSError, ValueError, TypeError):
                return  # No .npz has an array of that name.
        recipe = Recipe(weights=4 if len(given) % 2 else None)
        compile_model(path, "onnxruntime", data, Path(folder, "out"), recipe=recipe, explain=False)


MODEL = FuzzTarget(models, check_model, message_of(onnx.ModelProto, WORDS))
COMPILE = FuzzTarget(
    lambda: (model.SerializeToString() for model in small_models()), compile_whole, message_of(onnx.ModelProto, WORDS)
)
