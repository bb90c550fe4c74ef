"""Operations that move or select elements, written on the integers: they mean the same on either side of a scale.

Written so, they need no DequantizeLinear and QuantizeLinear around them for ORT to remove again. It removes them
around most, but not around a Pad. All of these ops take uint8 in ONNX and in ORT's processor kernels. Where they take
no uint16, the reals are moved: on the grid, they quantize to what they were.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitsmith.backends.onnxruntime.writer import Writer, is_wide, offset
from bitsmith.errors import UnsupportedError
from bitsmith.ir.integer import Concat, MaxPool, Operation, Pad, Reshape, Resize, Slice, Transpose

INT64_LOWEST = -(1 << 63)


def lower_movement(writer: Writer, operation: Operation) -> None:
    """Write an operation whose result is elements of its operands, in their format."""
    match operation:
        case MaxPool() | Pad() | Resize() if is_wide(writer.graph.result(operation)):
            lower_wide(writer, operation)
            return
        case MaxPool():
            made = lower_max_pool(writer, operation, writer.integers(operation.inputs[0]))
        case Concat():
            operands = [writer.integers(name) for name in operation.inputs]
            made = writer.node("Concat", operands, operation.name, axis=1 + operation.axis)
        case Reshape():
            made = lower_reshape(writer, operation)
        case Transpose():
            order = [0, *(1 + axis for axis in operation.permutation)]
            made = writer.node("Transpose", _operands(writer, operation), operation.name, perm=order)
        case Slice():
            made = lower_slice(writer, operation)
        case Pad():
            made = lower_pad(writer, operation)
        case Resize():
            made = lower_resize(writer, operation, writer.integers(operation.inputs[0]))
        case _:
            raise UnsupportedError(f"the backend onnxruntime has no {operation.kind}", where=operation.name)
    writer.keep(operation.output, made)


def reshaped(writer: Writer, operation: Operation, part: str, tensor: str, shape: Sequence[int]) -> str:
    """`tensor` under another shape, in which -1 is the batch; `part` tells the reshapes of one operation apart."""
    name = f"{operation.name}_{part}" if part else operation.name
    target = writer.constant(f"{name}_shape", np.array(shape, dtype=np.int64))
    return writer.node("Reshape", [tensor, target], name)


def lower_reshape(writer: Writer, operation: Reshape) -> str:
    """A Flatten, which has no shape to read, or else a Reshape."""
    result = writer.graph.result(operation)
    if len(result.shape) == 1:
        return writer.node("Flatten", _operands(writer, operation), operation.name, axis=1)
    return reshaped(writer, operation, "", writer.integers(operation.inputs[0]), [-1, *result.shape])


def lower_wide(writer: Writer, operation: MaxPool | Pad | Resize) -> None:
    """An operation for which ORT takes no uint16, on the reals."""
    (x,), result = writer.graph.operands(operation), writer.graph.result(operation)
    real = writer.reals(x.name)
    match operation:
        case MaxPool():
            made = lower_max_pool(writer, operation, real)
        case Pad():
            value = np.float32(result.format.dequantize(np.array(operation.value)))
            made = padded(writer, operation.name, real, operation.pads, value)
        case Resize():
            made = lower_resize(writer, operation, real)
    writer.quantize(operation.output, made)


def lower_max_pool(writer: Writer, operation: MaxPool, tensor: str) -> str:
    """Unsigned order is the order of the reals, and ORT never lets padding win."""
    return writer.node(
        "MaxPool",
        [tensor],
        operation.name,
        kernel_shape=list(operation.kernel),
        strides=list(operation.strides),
        pads=list(operation.pads),
        dilations=list(operation.dilations),
    )


def lower_slice(writer: Writer, operation: Slice) -> str:
    """A Slice with explicit ends along every axis but the batch."""
    sizes = writer.graph.result(operation).shape
    ends = []
    for start, step, size in zip(operation.starts, operation.steps, sizes, strict=True):
        end = start + step * size
        # A negative end would count from the far side; this is how ONNX says "down to index 0".
        ends.append(end if end >= 0 else INT64_LOWEST)
    axes = range(1, 1 + len(sizes))
    parts = (("starts", operation.starts), ("ends", ends), ("axes", axes), ("steps", operation.steps))
    bounds = [writer.constant(f"{operation.name}_{part}", np.array(what, dtype=np.int64)) for part, what in parts]
    return writer.node("Slice", [*_operands(writer, operation), *bounds], operation.name)


def lower_pad(writer: Writer, operation: Pad) -> str:
    """A Pad by a constant integer."""
    value = np.uint8(operation.value - offset(writer.graph.result(operation)))
    return padded(writer, operation.name, writer.integers(operation.inputs[0]), operation.pads, value)


def padded(
    writer: Writer, name: str, tensor: str, pads: Sequence[int], value: np.uint8 | np.uint16 | np.float32
) -> str:
    """`tensor` with `value`, of its type, around each sample; pads before each axis of one, then after each."""
    rank = len(pads) // 2
    extra = [
        writer.constant(f"{name}_pads", np.array([0, *pads[:rank], 0, *pads[rank:]], dtype=np.int64)),
        writer.constant(f"{name}_value", value),
    ]
    return writer.node("Pad", [tensor, *extra], name)


def lower_resize(writer: Writer, operation: Resize, tensor: str) -> str:
    """A Resize where every element is repeated a whole number of times, else one Gather an axis.

    ORT computes a Resize's indices in float32; only whole factors are sure to come out as the graph has them.
    """
    (x,) = writer.graph.operands(operation)
    factors = [_repeats(indices, size) for indices, size in zip(operation.indices, x.shape, strict=True)]
    if all(factors):
        scales = writer.constant(f"{operation.name}_scales", np.array([1, *factors], dtype=np.float32))
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return writer.node("Resize", [tensor, "", scales], operation.name, **how)
    for axis, indices in enumerate(operation.indices, start=1):
        if list(indices) != list(range(x.shape[axis - 1])):
            wanted = writer.constant(f"{operation.name}_indices", np.array(indices, dtype=np.int64))
            tensor = writer.node("Gather", [tensor, wanted], f"{operation.name}_{axis}", axis=axis)
    return tensor


def _repeats(indices: Sequence[int], size: int) -> int:
    """How often each of `size` elements is repeated in turn; 0 where the indices do something else."""
    factor, rest = divmod(len(indices), size)
    is_repeat = rest == 0 and list(indices) == [i // factor for i in range(len(indices))] if factor else False
    return factor if is_repeat else 0


def _operands(writer: Writer, operation: Operation) -> list[str]:
    return [writer.integers(name) for name in operation.inputs]
