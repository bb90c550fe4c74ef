"""A small attention model, as exporters write it."""

from __future__ import annotations

import numpy as np
import onnx

from tests.sketch import Array, Sketch


def attention(
    tokens: int = 12, width: int = 16, heads: int = 4, sharpness: float = 1.0, seed: int = 0
) -> onnx.ModelProto:
    """Multi-head self-attention and its residual: x (N, tokens, width) to the same shape.

    sharpness: times what unit normal weights would make the scores' deviation.
    """
    sketch, random = Sketch(x=("N", tokens, width)), np.random.default_rng(seed)
    size = width // heads

    def project(x: str, factor: float = 1.0) -> str:
        weight = (random.normal(size=(width, width)) * factor / np.sqrt(width)).astype(np.float32)
        bias = (0.1 * random.normal(size=width)).astype(np.float32)
        return str(sketch.add("Add", sketch.add("MatMul", x, weight), bias))

    def apart(x: str, order: list[int]) -> str:
        split = sketch.add("Reshape", x, np.array([0, tokens, heads, size], np.int64))
        return str(sketch.add("Transpose", split, perm=order))

    query, key = apart(project("x", sharpness), [0, 2, 1, 3]), apart(project("x", sharpness), [0, 2, 3, 1])
    value = apart(project("x"), [0, 2, 1, 3])
    scores = sketch.add("Div", sketch.add("MatMul", query, key), np.float32(np.sqrt(size)))
    shares = sketch.add("Softmax", scores, axis=-1, name="softmax")
    mixed = sketch.add("Transpose", sketch.add("MatMul", shares, value), perm=[0, 2, 1, 3])
    joined = sketch.add("Reshape", mixed, np.array([0, tokens, width], np.int64))
    return sketch.model(sketch.add("Add", project(str(joined)), "x"))


def decibels(wanted: Array, found: Array) -> float:
    """Signal to noise."""
    return float(10 * np.log10(np.square(wanted).sum() / np.square(wanted - found).sum()))
