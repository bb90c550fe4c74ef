"""MatMul of two values and Softmax: what attention is made of."""

from __future__ import annotations

from bitsmith.ir.fusion import factor_of, group_output, is_product, scalar_of
from bitsmith.ir.graph import Node
from bitsmith.ir.integer import MatMul, Softmax
from bitsmith.ir.softmax import exponentials
from bitsmith.passes.integerize.build import Build
from bitsmith.passes.integerize.linear import lower_matrix_product


def lower_matmul(build: Build, node: Node) -> None:
    """MatMul by a constant to a Linear, of two values to a MatMul; a number that scales it is part of the ratio."""
    if not is_product(node):
        lower_matrix_product(build, node)
        return
    left, right = (build.format(node.operand(index)) for index in (0, 1))
    scaling = factor_of(node)
    factor = 1.0 if scaling is None else scalar_of(scaling) or 1.0
    ratio = factor * left.scale[0] * right.scale[0] / build.format(group_output(node)).scale[0]
    build.add(
        MatMul(node.name, build.operands(node), build.group_result(node), requantize=build.requantize(node, ratio))
    )


def lower_softmax(build: Build, node: Node) -> None:
    """Softmax over the last axis, with the exponentials of every distance that the input's integers can have."""
    source, target = build.format(node.operand(0)), build.format(group_output(node))
    tables = exponentials(source.scale[0], source.type.bits, node.output.sample_shape[-1])
    build.add(
        Softmax(
            node.name,
            (build.operand(node.operand(0)),),
            build.group_result(node),
            *tables,
            requantize=build.requantize(node, 2.0**-30 / target.scale[0]),
        )
    )
