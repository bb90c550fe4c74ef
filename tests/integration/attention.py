"""A small attention model, as exporters write it."""

from __future__ import annotations

from collections.abc import Callable

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
    factors = iter((sharpness, sharpness, 1.0, 1.0))

    def project(x: str) -> str:
        weight = (random.normal(size=(width, width)) * next(factors) / np.sqrt(width)).astype(np.float32)
        bias = (0.1 * random.normal(size=width)).astype(np.float32)
        return str(sketch.add("Add", sketch.add("MatMul", x, weight), bias))

    return sketch.model(sketch.add("Add", attend(sketch, "x", project, tokens, width, heads), "x"))


def attend(sketch: Sketch, x: str, project: Callable[[str], str], tokens: int, width: int, heads: int) -> str:
    """Multi-head self-attention; `project` makes query, key, value and result, in this order."""
    size = width // heads

    def apart(x: str, order: list[int]) -> str:
        split = sketch.add("Reshape", x, np.array([0, tokens, heads, size], np.int64))
        return str(sketch.add("Transpose", split, perm=order))

    query, key = apart(project(x), [0, 2, 1, 3]), apart(project(x), [0, 2, 3, 1])
    value = apart(project(x), [0, 2, 1, 3])
    scores = sketch.add("Div", sketch.add("MatMul", query, key), np.float32(np.sqrt(size)))
    shares = sketch.add("Softmax", scores, axis=-1, name="softmax")
    mixed = sketch.add("Transpose", sketch.add("MatMul", shares, value), perm=[0, 2, 1, 3])
    return project(str(sketch.add("Reshape", mixed, np.array([0, tokens, width], np.int64))))


def decibels(wanted: Array, found: Array) -> float:
    """Signal to noise."""
    return float(10 * np.log10(np.square(wanted).sum() / np.square(wanted - found).sum()))
