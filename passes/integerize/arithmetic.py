"""Add, Sub and Mul of two values."""

from __future__ import annotations

import numpy as np

from bitsmith.ir.bounds import INT32_MAGNITUDE
from bitsmith.ir.dyadic import dyadic
from bitsmith.ir.formats import Format
from bitsmith.ir.fusion import group_output
from bitsmith.ir.graph import Node
from bitsmith.ir.integer import Add, Mul
from bitsmith.passes.integerize.build import Build


def lower_add(build: Build, node: Node) -> None:
    """Add or Sub: both operands scaled into one shift. A Sub is an Add with a negative second multiplier."""
    formats = [build.format(node.operand(index)) for index in (0, 1)]
    output = build.format(group_output(node))
    ratios = [operand.scale[0] / output.scale[0] for operand in formats]
    multipliers, shift = _meet(ratios, [reach(operand) for operand in formats])
    sign = -1 if node.op == "Sub" else 1
    build.add(
        Add(
            node.name,
            build.operands(node),
            build.group_result(node),
            multipliers=(multipliers[0], sign * multipliers[1]),
            requantize=build.clamp(node, np.ones(1, np.int64), shift),
        )
    )


def lower_mul(build: Build, node: Node) -> None:
    """Mul: the product of the centred operands is the accumulator."""
    left, right = (build.format(node.operand(index)) for index in (0, 1))
    output = build.format(group_output(node))
    build.add(
        Mul(
            node.name,
            build.operands(node),
            build.group_result(node),
            requantize=build.requantize(node, left.scale[0] * right.scale[0] / output.scale[0]),
        )
    )


def reach(operand: Format) -> int:
    """The largest |q - zero_point| of a format."""
    return max(operand.type.highest - operand.zero_point, operand.zero_point - operand.type.lowest)


def _meet(ratios: list[float], reaches: list[int]) -> tuple[list[int], int]:
    """Multipliers over one shift, as precise as an int32 sum allows.

    Operands of 8 bits leave 21 or more bits to the multipliers, an error of 2^-13 of a step. Wider operands
    would be left too few, so their products are summed in 64 bits.
    """
    if max(reaches) > 1 << 9:
        multipliers, shift = dyadic(ratios)
        return [int(m) for m in multipliers], shift
    for bits in range(30, 0, -1):
        multipliers, shift = dyadic(ratios, bits)
        largest = sum(int(m) * reach for m, reach in zip(multipliers, reaches, strict=True))
        if largest + (1 << (shift - 1)) <= INT32_MAGNITUDE:
            break
    return [int(m) for m in multipliers], shift
