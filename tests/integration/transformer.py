"""A pre-norm transformer block, as exporters write it."""

from __future__ import annotations

import numpy as np
import onnx

from tests.integration.attention import attend
from tests.sketch import Sketch


def block(
    tokens: int = 8, width: int = 16, heads: int = 2, opset: int = 17, outlier: float = 1.0, seed: int = 0
) -> onnx.ModelProto:
    """x + attention(norm(x)), and of that y: y + mlp(norm(y)); x (N, tokens, width) to the same shape.

    opset: below 17 there is no LayerNormalization, and it is written out. outlier: times what unit normal gains would
    be in the first feature of the first norm.
    """
    sketch, random = Sketch(opset=opset, x=("N", tokens, width)), np.random.default_rng(seed)

    def norm(x: str, first: float) -> str:
        gain = (1 + 0.2 * random.normal(size=width)).astype(np.float32)
        gain[0] *= first
        offset = (0.1 * random.normal(size=width)).astype(np.float32)
        if opset >= 17:
            return str(sketch.add("LayerNormalization", x, gain, offset, axis=-1))
        off = sketch.add("Sub", x, sketch.add("ReduceMean", x, axes=[-1]))
        square = sketch.add("ReduceMean", sketch.add("Pow", off, np.float32(2)), axes=[-1])
        made = sketch.add("Div", off, sketch.add("Sqrt", sketch.add("Add", square, np.float32(1e-5))))
        return str(sketch.add("Add", sketch.add("Mul", made, gain), offset))

    def project(x: str, inputs: int, outputs: int) -> str:
        weight = (random.normal(size=(inputs, outputs)) / np.sqrt(inputs)).astype(np.float32)
        bias = (0.1 * random.normal(size=outputs)).astype(np.float32)
        return str(sketch.add("Add", sketch.add("MatMul", x, weight), bias))

    def gelu(x: str) -> str:
        share = sketch.add("Add", sketch.add("Erf", sketch.add("Div", x, np.float32(np.sqrt(2)))), np.float32(1))
        return str(sketch.add("Mul", sketch.add("Mul", x, share), np.float32(0.5)))

    seen = norm("x", outlier)
    y = str(sketch.add("Add", attend(sketch, seen, lambda x: project(x, width, width), tokens, width, heads), "x"))
    hidden = gelu(project(norm(y, 1.0), width, 2 * width))
    return sketch.model(sketch.add("Add", project(hidden, 2 * width, width), y))
