"""AveragePool and GlobalAveragePool, to a sum times a dyadic of 1 / (count * ratio)."""

from __future__ import annotations

from bitsmith.ir.fusion import group_output
from bitsmith.ir.graph import Node
from bitsmith.ir.integer import AveragePool
from bitsmith.ir.pooling import window_of
from bitsmith.passes.integerize.build import Build


def lower_average_pool(build: Build, node: Node) -> None:
    """One multiplier where every window averages over as many elements, else one a position."""
    window = window_of(node)
    counts = window.counts(include_pad=bool(node.attribute("count_include_pad", 0)))
    scale = build.format(node.operand(0)).scale[0] / build.format(group_output(node)).scale[0]
    uniform = bool((counts == counts.flat[0]).all())
    build.add(
        AveragePool(
            node.name,
            (build.operand(node.operand(0)),),
            build.group_result(node),
            kernel=window.kernel,
            strides=window.strides,
            pads=window.pads,
            dilations=window.dilations,
            requantize=build.requantize(node, scale / (counts.flat[0] if uniform else counts[None])),
        )
    )
