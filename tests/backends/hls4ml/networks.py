"""Small networks that hold, between them, every form that hls4ml computes exactly."""

from __future__ import annotations

import numpy as np
import onnx

from tests.sketch import Array, Sketch, normal


def _norm(sketch: Sketch, x: str, channels: int, seed: int) -> str:
    """A batch normalisation that changes every channel."""
    scale, shift, mean, variance = normal(4, channels, seed=seed)
    return str(sketch.add("BatchNormalization", x, np.abs(scale) + 0.5, shift, mean, np.abs(variance) + 0.5))


def _weight(*shape: int, seed: int) -> Array:
    return normal(*shape, seed=seed) / np.float32(np.sqrt(np.prod(shape[1:])))


def images() -> onnx.ModelProto:
    """Convolutions of all kinds, batch normalisation, residual and concatenated branches, all pools, two heads."""
    s = Sketch(x=("N", 3, 6, 6))
    stem = s.add("Relu", _norm(s, s.add("Conv", "x", _weight(4, 3, 3, 3, seed=1), pads=[1, 1, 1, 1]), 4, 2))
    deep = s.add("Conv", stem, _weight(4, 1, 3, 3, seed=3), normal(4, seed=4), group=4, pads=[0, 1, 1, 0])
    point = s.add("Conv", s.add("Relu", deep), _weight(4, 4, 1, 1, seed=5), normal(4, seed=6))
    half = s.add("Conv", stem, _weight(4, 4, 2, 2, seed=7), normal(4, seed=8))
    added = s.add("Relu", s.add("Add", point, half))
    both = s.add("Concat", added, s.add("Conv", stem, _weight(2, 4, 2, 2, seed=9), normal(2, seed=10)), axis=1)
    leaky = s.add("LeakyRelu", s.add("Conv", both, _weight(6, 6, 1, 1, seed=11)), alpha=0.25)
    pooled = s.add("MaxPool", leaky, kernel_shape=[2, 2], strides=[2, 2])
    averaged = s.add("AveragePool", pooled, kernel_shape=[2, 2], strides=[1, 1])
    flat = s.add("Flatten", s.add("Conv", averaged, _weight(3, 6, 1, 1, seed=12), strides=[1, 1]))
    y = s.add("Gemm", flat, normal(3, 3, seed=13), normal(3, seed=14), outputs=["y"])
    mean = s.add("Flatten", s.add("GlobalAveragePool", both))
    largest = s.add("Flatten", s.add("GlobalMaxPool", both))
    z = s.add("Gemm", s.add("Concat", mean, largest, axis=1), normal(12, 4, seed=15), normal(4, seed=16), outputs=["z"])
    return s.model(y, z)


def signals() -> onnx.ModelProto:
    """Convolutions along one axis, one of them strided, a mean over it, and a multiplied pair."""
    s = Sketch(x=("N", 3, 12))
    a = s.add("Relu", s.add("Conv", "x", _weight(4, 3, 3, seed=1), normal(4, seed=2), pads=[1, 1]))
    b = s.add("Relu", s.add("Conv", a, _weight(4, 4, 4, seed=3), normal(4, seed=4), strides=[2], pads=[1, 1]))
    c = s.add("Conv", b, _weight(4, 1, 3, seed=5), normal(4, seed=6), group=4, pads=[1, 1])
    mean = s.add("Flatten", s.add("GlobalAveragePool", s.add("Mul", b, c)))
    return s.model(s.add("MatMul", mean, normal(4, 3, seed=7), outputs=["y"]))


def flattened() -> onnx.ModelProto:
    """An image whose pixels a Gemm reads in the order that channels come first."""
    s = Sketch(x=("N", 2, 4, 4))
    a = s.add("Relu", s.add("Conv", "x", _weight(3, 2, 3, 3, seed=1), normal(3, seed=2), strides=[1, 1]))
    return s.model(s.add("Gemm", s.add("Flatten", a), normal(12, 4, seed=3), normal(4, seed=4), outputs=["y"]))
