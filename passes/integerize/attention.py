"""MatMul of two values and Softmax: what attention is made of."""

from __future__ import annotations

from bitsmith.ir.fusion import factor_of, group_output, is_product, scalar_of
from bitsmith.ir.graph import Node
from bitsmith.ir.integer import MatMul, Softmax, Thresholds
from bitsmith.ir.softmax import exponentials, levels, thresholds
from bitsmith.passes.integerize.arithmetic import reach
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
    held, unit = None, left.scale[0]
    if left.base is not None:
        held = levels(left, node.operand(0).sample_shape[-1] * reach(right))
        # The first level is what stands for 1.
        unit = 1 / int(held[0])
    ratio = factor * unit * right.scale[0] / build.format(group_output(node)).scale[0]
    build.add(MatMul(node.name, build.operands(node), build.group_result(node), build.requantize(node, ratio), held))


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
            requantize=Thresholds(thresholds(target))
            if target.base is not None
            else build.requantize(node, 2.0**-30 / target.scale[0]),
        )
    )
