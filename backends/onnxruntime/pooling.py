"""AveragePool, as the float ops whose divisors its multipliers follow."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from bitsmith.backends.onnxruntime.movement import padded
from bitsmith.backends.onnxruntime.ratios import expect_ratio
from bitsmith.backends.onnxruntime.writer import Writer, is_wide
from bitsmith.ir.integer import AveragePool, Shape

Counts = npt.NDArray[np.float64]


def lower_average_pool(writer: Writer, operation: AveragePool) -> None:
    """The multipliers say by what each window's sum is divided, and that chooses the form.

    - one window over everything:             GlobalAveragePool
    - the kernel's size:                      AveragePool, count_include_pad = 1
    - the elements that are not padding:      AveragePool, count_include_pad = 0
    - another number, the same everywhere:    a depthwise Conv by ones
    - another number in every place:          AveragePool of the padded input, and a Mul that corrects it

    The last two also do what ORT's integer pooling cannot: dilations (its op has no such attribute, and the
    session fails) and as much padding as kernel. Only the last one is computed in float.
    """
    (x,), y = writer.graph.operands(operation), writer.graph.result(operation)
    counts = divisors(writer, operation)
    size, space = math.prod(operation.kernel), x.shape[1:]
    is_whole = bool((counts == size).all())
    is_plain = max(operation.dilations) == 1 and all(
        pad < extent for pad, extent in zip(operation.pads, operation.kernel * 2, strict=True)
    )
    if is_plain and is_whole and operation.kernel == space and not any(operation.pads):
        mean = writer.node("GlobalAveragePool", [writer.reals(x.name)], operation.name)
    elif is_plain and (is_whole or np.array_equal(counts, elements(operation, space, y.shape[1:]))):
        mean = writer.node(
            "AveragePool",
            [writer.reals(x.name)],
            operation.name,
            kernel_shape=list(operation.kernel),
            strides=list(operation.strides),
            pads=list(operation.pads),
            count_include_pad=int(is_whole),
        )
    elif (counts == counts.flat[0]).all():
        mean = _by_convolution(writer, operation, x.shape[0], counts.flat[0])
    else:
        mean = _corrected(writer, operation, size / counts)
    writer.quantize(operation.output, mean, operation.requantize)


def divisors(writer: Writer, operation: AveragePool) -> Counts:
    """By what each window's sum is divided: (*out_space)."""
    (x,), y = writer.graph.operands(operation), writer.graph.result(operation)
    requantize, ratio = operation.requantize, x.format.scale[0] / y.format.scale[0]
    counts = np.maximum(np.rint(np.ldexp(ratio, requantize.shift) / requantize.multiplier), 1.0)
    expect_ratio(operation, requantize.multiplier, requantize.shift, ratio / counts)
    everywhere: Counts = np.broadcast_to(counts, (1, *y.shape[1:]))[0]
    return everywhere


def elements(operation: AveragePool, space: Shape, out_space: Shape) -> Counts:
    """How many elements of each window are not padding: (*out_space)."""
    counts = np.zeros(out_space)
    for window in itertools.product(*map(range, out_space)):
        covered = 1
        for axis, index in enumerate(window):
            first = index * operation.strides[axis] - operation.pads[axis]
            taps = range(first, first + operation.kernel[axis] * operation.dilations[axis], operation.dilations[axis])
            covered *= sum(0 <= tap < space[axis] for tap in taps)
        counts[window] = covered
    return counts


def _by_convolution(writer: Writer, operation: AveragePool, channels: int, count: float) -> str:
    ones = np.ones((channels, 1, *operation.kernel), dtype=np.int8)
    return writer.node(
        "Conv",
        [writer.reals(operation.inputs[0]), writer.weight(operation, "weight", ones, [1 / count])],
        operation.name,
        kernel_shape=list(operation.kernel),
        strides=list(operation.strides),
        pads=list(operation.pads),
        dilations=list(operation.dilations),
        group=channels,
    )


def _corrected(writer: Writer, operation: AveragePool, correction: Counts) -> str:
    (x,) = writer.graph.operands(operation)
    name = operation.name
    rank = len(operation.kernel)
    if is_wide(x):
        # ORT would merge a Pad of reals into the pool, and then refuse as much padding as kernel.
        mean = _by_convolution(writer, operation, x.shape[0], math.prod(operation.kernel))
    else:
        around = [0, *operation.pads[:rank], 0, *operation.pads[rank:]]
        filler = np.uint8(writer.held(x, x.format.zero_point))
        tensor = padded(writer, f"{name}_pad", writer.integers(x.name), around, filler)
        mean = writer.node(
            "AveragePool",
            [writer.node("DequantizeLinear", [tensor, *writer.parameters(x.name)], f"{name}_pad_dequantize")],
            name,
            kernel_shape=list(operation.kernel),
            strides=list(operation.strides),
            dilations=list(operation.dilations),
        )
    factor = writer.constant(f"{name}_correction", correction[None].astype(np.float32))
    return writer.node("Mul", [mean, factor], f"{name}_correct")
