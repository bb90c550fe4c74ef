"""Integer graphs of one operation, in a line or two."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitsmith.ir.dyadic import dyadic
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import (
    Add,
    AveragePool,
    Conv,
    IntegerGraph,
    Linear,
    Operation,
    Requantize,
    Shape,
    Value,
)
from bitsmith.ir.shapes import output_shape
from bitsmith.ir.validate import validate

INT8 = IntegerType(8)
X = Format(INT8, (0.05,), -20)
Y = Format(INT8, (0.11,), 13)


def one(operation: Operation, shapes: dict[str, Shape], formats: dict[str, Format], **rest: Any) -> IntegerGraph:
    """The graph that feeds `operation` from inputs (or constants) of these shapes; `formats` names every value."""
    made = output_shape(operation, [shapes[name] for name in operation.inputs], rest.pop("declared", ()))
    values = {name: Value(name, shape, formats[name]) for name, shape in {**shapes, operation.output: made}.items()}
    inputs = tuple(name for name in shapes if name not in rest.get("constants", {}))
    graph = IntegerGraph("one", values, inputs, (operation.output,), (operation,), **rest)
    validate(graph)
    return graph


def requantize(ratio: Any, output: Format, lowest: int | None = None, highest: int | None = None) -> Requantize:
    """A requantize step by `ratio` into `output`, clamped to its type's range unless told otherwise."""
    multiplier, shift = dyadic(ratio)
    low = output.type.lowest if lowest is None else lowest
    high = output.type.highest if highest is None else highest
    return Requantize(np.atleast_1d(multiplier), shift, output.zero_point, low, high)


def conv(
    space: Shape,
    out_channels: int = 6,
    channels: int = 4,
    groups: int = 1,
    kernel: int = 3,
    x: Format = X,
    y: Format = Y,
    weight_bits: int = 8,
    per_channel: bool = True,
    clamp: tuple[int | None, int | None] = (None, None),
    seed: int = 0,
) -> IntegerGraph:
    """A Conv, padded by 1, of random weights and biases."""
    random = np.random.default_rng(seed)
    rank, kind = len(space), IntegerType(weight_bits)
    shape = (out_channels, channels // groups, *[kernel] * rank)
    scale = random.uniform(0.5, 2.0, out_channels if per_channel else 1) / (kind.highest * np.prod(shape[1:]) ** 0.5)
    weights = Format(kind, tuple(scale), axis=0 if per_channel else None)
    ratio = np.array(weights.scale) * x.scale[0] / y.scale[0]
    operation = Conv(
        "conv",
        ("x",),
        "y",
        weight=random.integers(kind.lowest, kind.highest, shape, endpoint=True),
        bias=random.integers(-4000, 4000, out_channels),
        weight_format=weights,
        strides=(1,) * rank,
        pads=(1,) * 2 * rank,
        dilations=(1,) * rank,
        groups=groups,
        requantize=requantize(ratio.reshape(-1, *[1] * rank) if per_channel else ratio, y, *clamp),
    )
    return one(operation, {"x": (channels, *space)}, {"x": x, "y": y})


def linear(
    shape: Shape, out: int = 5, x: Format = X, y: Format = Y, seed: int = 0, weight_bits: int = 8
) -> IntegerGraph:
    """A Linear over the last axis of `shape`."""
    random, kind = np.random.default_rng(seed), IntegerType(weight_bits)
    weights = Format(kind, tuple(random.uniform(0.5, 2.0, out) / kind.highest), axis=0)
    operation = Linear(
        "linear",
        ("x",),
        "y",
        weight=random.integers(-kind.highest, kind.highest + 1, (out, shape[-1])),
        bias=random.integers(-4000, 4000, out),
        weight_format=weights,
        requantize=requantize(np.array(weights.scale) * x.scale[0] / y.scale[0], y),
    )
    return one(operation, {"x": shape}, {"x": x, "y": y})


def add(signs: tuple[int, int], a: Shape = (3, 4), b: Shape = (3, 4), constant: bool = False) -> IntegerGraph:
    """`signs[0] * a + signs[1] * b`, of values in formats of their own; b a constant if asked."""
    formats = {"a": X, "b": Format(INT8, (0.031,), 40), "y": Y}
    multipliers, shift = dyadic([formats[name].scale[0] / Y.scale[0] for name in "ab"], bits=21)
    operation = Add(
        "add",
        ("a", "b"),
        "y",
        multipliers=(signs[0] * int(multipliers[0]), signs[1] * int(multipliers[1])),
        requantize=Requantize(np.array([1]), shift, Y.zero_point, -128, 127),
    )
    held = {"b": np.random.default_rng(1).integers(-128, 128, b).astype(np.int8)} if constant else {}
    return one(operation, {"a": a, "b": b}, formats, constants=held)


def average(
    space: Shape,
    counts: Any,
    kernel: Shape,
    pads: tuple[int, ...] | None = None,
    dilations: Shape | None = None,
    strides: Shape | None = None,
) -> IntegerGraph:
    """An AveragePool of 3 channels whose windows are divided by `counts`: one number, or (*out_space)."""
    rank = len(space)
    divisors = np.asarray(counts, dtype=np.float64)
    operation = AveragePool(
        "pool",
        ("x",),
        "y",
        kernel=kernel,
        strides=strides or (1,) * rank,
        pads=pads or (0,) * 2 * rank,
        dilations=dilations or (1,) * rank,
        requantize=requantize(X.scale[0] / Y.scale[0] / (divisors[None] if divisors.ndim else divisors), Y),
    )
    return one(operation, {"x": (3, *space)}, {"x": X, "y": Y})
