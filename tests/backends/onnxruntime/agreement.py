"""How far ONNX Runtime may stray from the exact integers: one step, and only where a result lies on a tie.

Whole graphs say little here. A single step of difference reaches every later layer, and deep models spread it to
most of their outputs. So each operation is run by itself, on the exact integers that it reads in the whole.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import helper
from onnx.reference import ReferenceEvaluator

from bitsmith.backends.onnxruntime import build_model, serialize
from bitsmith.backends.onnxruntime.verify import run_integers
from bitsmith.backends.onnxruntime.weights import storage
from bitsmith.execution.batches import Batch
from bitsmith.execution.interpreter import run
from bitsmith.execution.sums import accumulate
from bitsmith.ir.formats import Format
from bitsmith.ir.integer import Add, Conv, IntegerGraph, LayerNorm, Linear, MatMul, Operation, Softmax, Table

Reals = npt.NDArray[np.float64]

# ORT multiplies, adds and divides a handful of float32 numbers, each exact to 2^-24 of its size. Its sigmoid is a
# rational function that is good to 2^-21.
FLOAT32 = 2.0**-20


def alone(graph: IntegerGraph, operation: Operation) -> IntegerGraph:
    """The graph of one operation, its constants left constants."""
    constants = {name: graph.constants[name] for name in operation.inputs if name in graph.constants}
    inputs = tuple(name for name in dict.fromkeys(operation.inputs) if name not in constants)
    values = {name: graph.values[name] for name in (*inputs, *constants, operation.output)}
    return IntegerGraph(operation.name, values, inputs, (operation.output,), (operation,), constants)


def assert_agrees(graph: IntegerGraph, inputs: Batch) -> int:
    """Hold ORT to the interpreter, operation by operation; returns how many elements were on a tie."""
    values = {**graph.constants, **run(graph, inputs, keep=True)}
    ties = 0
    for operation in graph:
        part = alone(graph, operation)
        found = run_integers(part, serialize(build_model(part)), {name: values[name] for name in part.inputs})
        exact = values[operation.output].astype(np.int64)
        assert found[operation.output].dtype == values[operation.output].dtype
        assert found[operation.output].shape == exact.shape
        differences = np.abs(found[operation.output] - exact)
        if differences.any():
            ties += int((differences != 0).sum())
            real, margin = before_rounding(graph, operation, [values[name] for name in operation.inputs])
            from_tie = np.abs(real - np.floor(real) - 0.5)
            # Of 16 bits, what float32 loses of two large terms may be more than a step of their small difference.
            farthest = np.maximum(np.ceil(margin), 1)
            assert (differences <= farthest).all(), f"{operation.kind} differs by {differences.max()}"
            strays = differences != 0
            assert (from_tie <= margin)[strays].all(), (
                f"{operation.kind} differs at {real[strays][:4]}, off a tie by more than {margin[strays][:4]}"
            )
    return ties


def before_rounding(graph: IntegerGraph, operation: Operation, operands: list[Any]) -> tuple[Reals, Reals]:
    """The result in steps of its grid before it is rounded, and how far float32 may be from it.

    What float32 loses is in proportion to the terms that are added. What the multiplier's own rounding loses is
    at most one of its units for each unit of the accumulator.
    """
    result = graph.result(operation).format
    centred = [
        array.astype(np.float64) - value.format.zero_point
        for array, value in zip(operands, graph.operands(operation), strict=True)
    ]
    if isinstance(operation, Table):
        real = tabulated(operation, centred[0] * graph.operands(operation)[0].format.scale[0]) / result.scale[0]
        # The function's own constants and intermediate results are of the size of 1, whatever its result.
        return real, (np.abs(real) + 1 / result.scale[0] + abs(result.zero_point)) * FLOAT32
    if isinstance(operation, Softmax):
        return shares(operation, centred[0] * graph.operands(operation)[0].format.scale[0], result)
    requantize = operation.requantize  # type: ignore[attr-defined]
    ratio = requantize.multiplier * 2.0**-requantize.shift
    accumulator = accumulate(operation, centred)
    if isinstance(operation, Add):
        (a, b), (ma, mb) = centred, operation.multipliers
        terms, units = np.abs(a * ma) + np.abs(b * mb), np.abs(a) + np.abs(b)
    elif isinstance(operation, Conv | Linear) and storage(operation.weight_format).is_float:
        # Sums in float32 lose what their terms are worth, however small the sum.
        magnitudes = replace(operation, weight=np.abs(operation.weight), bias=np.abs(operation.bias.astype(np.int64)))
        terms, units = accumulate(magnitudes, [np.abs(centred[0])]), np.abs(accumulator)
    elif isinstance(operation, MatMul):
        # Of 16 bits, they are summed in float32.
        terms, units = accumulate(operation, [np.abs(one) for one in centred]), np.abs(accumulator)
    elif isinstance(operation, LayerNorm):
        terms, units = normal_terms(operation, centred[0], accumulator), np.abs(accumulator)
    else:
        terms = units = np.abs(accumulator)
    size = terms * ratio + abs(requantize.zero_point) + 1
    return accumulator * ratio, size * FLOAT32 + units * 2.0**-requantize.shift


def normal_terms(operation: LayerNorm, x: Reals, accumulator: Reals) -> Reals:
    """What float32 loses digits of: gained and offset, and x, whose mean is taken off it before it is widened."""
    count = x.shape[-1] << operation.finer
    deviation = np.sqrt(np.var(x, axis=-1, keepdims=True) + operation.epsilon / count**2)
    gain = np.abs(operation.gain) * 2.0**operation.fraction
    offset: Reals = np.abs(operation.offset).astype(np.float64)
    return np.abs(accumulator - operation.offset) + offset + gain * np.abs(x).max(axis=-1, keepdims=True) / deviation


def shares(operation: Softmax, x: Reals, result: Format) -> tuple[Reals, Reals]:
    """The softmax of the reals in steps of the result's grid, and by how much either side may be off.

    A logarithm that float32 holds to 2^-24 of its size is off by that much of the result; ours is off by what its
    docstring says.
    """
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    exact = powers / powers.sum(axis=-1, keepdims=True)
    wide = 2.0 if len(operation.fine) > 1 else 0.5
    ours = wide * (1 + x.shape[-1] * exact) / operation.one + 2.0**-27
    if result.base is not None:
        powers, step = -np.log(np.maximum(exact, 1e-30)), np.log(result.base)
        return powers / step, (ours / np.maximum(exact, 1e-30) + (powers + 1) * FLOAT32) / step
    real = exact / result.scale[0]
    logarithms = 1 + np.abs(np.log(np.maximum(exact, 1e-30)))
    return real, ours / result.scale[0] + (np.abs(real) * logarithms + abs(result.zero_point) + 1) * FLOAT32


def tabulated(operation: Table, x: Reals) -> Reals:
    """The function that a table tabulates, by ONNX's reference evaluator."""
    function = operation.function
    constants = {
        f"c{index}": np.array(values, np.float32).reshape(shape)
        for index, (shape, values) in enumerate(function.constants)
    }
    node = helper.make_node(function.op, ["x", *constants], ["y"], **dict(function.attributes))
    declared = [helper.make_tensor_value_info(name, 1, None) for name in ("x", *constants)]
    body = helper.make_graph([node], "function", declared, [helper.make_tensor_value_info("y", 1, None)])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 21)])
    (result,) = ReferenceEvaluator(model).run(None, {"x": x.astype(np.float32), **constants})
    return np.asarray(result, dtype=np.float64)
