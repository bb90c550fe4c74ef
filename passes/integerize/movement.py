"""Ops that only move or select elements: Reshape, Transpose, Concat, Slice, Pad, Resize, MaxPool."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitsmith.errors import InternalError
from bitsmith.ir.graph import Node
from bitsmith.ir.integer import Concat, MaxPool, Pad, Reshape, Resize, Slice, Transpose
from bitsmith.ir.pooling import window_of
from bitsmith.passes.integerize.build import Build


def lower_reshape(build: Build, node: Node) -> None:
    """Reshape. Elements keep their order; the batch is not among them."""
    build.add(Reshape(node.name, (build.operand(node.operand(0)),), build.result(node.output)))


def lower_transpose(build: Build, node: Node) -> None:
    """Transpose. The batch stays first, so that the other axes move among themselves."""
    permutation = node.attribute("perm", list(range(node.output.rank))[::-1])
    moved = tuple(int(axis) - 1 for axis in permutation[1:])
    build.add(Transpose(node.name, (build.operand(node.operand(0)),), build.result(node.output), moved))


def lower_concat(build: Build, node: Node) -> None:
    """Concat. Operands in one format, side by side."""
    axis = int(node.attribute("axis")) % node.output.rank - 1
    build.add(Concat(node.name, build.operands(node), build.result(node.output), axis))


def lower_slice(build: Build, node: Node) -> None:
    """Slice. Starts, axes and steps become one start and step an axis; ends are the output's size."""
    shape = node.operand(0).sample_shape
    starts, steps = [0] * len(shape), [1] * len(shape)
    given_starts = _integers(node, 1)
    axes = _integers(node, 3) or list(range(len(given_starts)))
    given_steps = _integers(node, 4) or [1] * len(axes)
    for start, axis, step in zip(given_starts, axes, given_steps, strict=True):
        sample_axis = axis % (len(shape) + 1) - 1
        if sample_axis < 0:
            continue
        size = shape[sample_axis]
        start = start + size if start < 0 else start
        starts[sample_axis] = min(max(start, 0), size - 1)
        steps[sample_axis] = step
    operand = build.operand(node.operand(0))
    build.add(Slice(node.name, (operand,), build.result(node.output), tuple(starts), tuple(steps)))


def lower_pad(build: Build, node: Node) -> None:
    """Pad. The fill becomes an integer of the shared format; 0.0 is its zero point."""
    rank = node.output.rank
    given = _integers(node, 1)
    axes = [axis % rank for axis in _integers(node, 3)] or list(range(rank))
    before, after = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        before[axis], after[axis] = given[index], given[index + len(axes)]
    fill = node.constant(2)
    output = build.format(node.output)
    value = output.zero_point if fill is None else int(output.quantize(fill.ravel()[0]))
    operand = build.operand(node.operand(0))
    build.add(Pad(node.name, (operand,), build.result(node.output), (*before[1:], *after[1:]), value))


def lower_resize(build: Build, node: Node) -> None:
    """Resize. Which input each output reads is settled here, axis by axis."""
    sources, targets = node.operand(0).sample_shape, node.output.sample_shape
    scales = node.constant(2)
    factors = (
        [float(factor) for factor in scales.ravel()[1:]]
        if scales is not None and scales.size == len(sources) + 1
        else [target / source for source, target in zip(sources, targets, strict=True)]
    )
    indices = tuple(
        nearest_indices(
            source,
            target,
            factor,
            str(node.attribute("coordinate_transformation_mode", "half_pixel")),
            str(node.attribute("nearest_mode", "round_prefer_floor")),
        )
        for source, target, factor in zip(sources, targets, factors, strict=True)
    )
    build.add(Resize(node.name, (build.operand(node.operand(0)),), build.result(node.output), indices))


def lower_max_pool(build: Build, node: Node) -> None:
    """MaxPool. The largest integer stands for the largest real."""
    window = window_of(node)
    build.add(
        MaxPool(
            node.name,
            (build.operand(node.operand(0)),),
            build.result(node.output),
            kernel=window.kernel,
            strides=window.strides,
            pads=window.pads,
            dilations=window.dilations,
        )
    )


def nearest_indices(source: int, target: int, factor: float, transformation: str, rounding: str) -> tuple[int, ...]:
    """Which input index each output index reads along one axis, by ONNX Resize's two attributes.

    source, target: the axis' sizes; factor: output size over input size, as the model gives it.
    """
    position = np.arange(target, dtype=np.float64)
    match transformation:
        case "asymmetric":
            real = position / factor
        case "half_pixel":
            real = (position + 0.5) / factor - 0.5
        case "pytorch_half_pixel":
            real = (position + 0.5) / factor - 0.5 if target > 1 else np.zeros(target)
        case "align_corners":
            real = position * (source - 1) / (target - 1) if target > 1 else np.zeros(target)
        case "half_pixel_symmetric":
            adjustment = target / (factor * source)
            real = source / 2 * (1 - adjustment) + (position + 0.5) / factor - 0.5
        case _:
            raise InternalError(f"Resize with coordinate_transformation_mode {transformation}")
    match rounding:
        case "round_prefer_floor":
            index = np.ceil(real - 0.5)
        case "round_prefer_ceil":
            index = np.floor(real + 0.5)
        case "floor":
            index = np.floor(real)
        case "ceil":
            index = np.ceil(real)
        case _:
            raise InternalError(f"Resize with nearest_mode {rounding}")
    return tuple(int(i) for i in np.clip(index, 0, source - 1))


def _integers(node: Node, index: int) -> Sequence[int]:
    """A constant operand as a list of integers; empty where it is left out."""
    array = node.constant(index)
    return [] if array is None else [int(element) for element in array.ravel()]
