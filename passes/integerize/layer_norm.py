"""LayerNormalization over the last axis."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bitsmith.errors import UnsupportedError
from bitsmith.ir.bounds import INT64_MAGNITUDE
from bitsmith.ir.fusion import group_output
from bitsmith.ir.graph import Node
from bitsmith.ir.integer import LayerNorm
from bitsmith.ir.layer_norm import finer_bits, fraction_bits, gains
from bitsmith.passes.integerize.arithmetic import reach
from bitsmith.passes.integerize.build import Build


def lower_layer_norm(build: Build, node: Node) -> None:
    """LayerNormalization: its gain and offset in steps of the result, its epsilon in those of its input's variance."""
    x = node.operand(0)
    count, step = x.sample_shape[-1], build.format(group_output(node)).scale[0]
    gain, offset = (_vector(node, index, count, default) / step for index, default in ((1, 1.0), (2, 0.0)))
    fraction = fraction_bits(count)
    held = gains(gain, offset, fraction)
    source = build.format(x)
    epsilon = float(node.attribute("epsilon", 1e-5)) / source.scale[0] ** 2
    span = max(source.type.highest - source.type.lowest, reach(source))
    finer = finer_bits(count, span, epsilon)
    scaled = epsilon * (count << finer) ** 2
    if not scaled <= INT64_MAGNITUDE:
        raise UnsupportedError(
            f"its epsilon is {epsilon:.3g} steps of its input's variance, which 64 bits do not hold",
            where=node.where,
            fix="Its input hardly varies: leave it out, or scale what it reads.",
        )
    build.add(
        LayerNorm(
            node.name,
            (build.operand(x),),
            build.group_result(node),
            held.gain,
            held.offset,
            max(1, math.floor(scaled + 0.5)),
            finer,
            fraction,
            build.clamp(node, np.ones(1, np.int64), held.shift),
        )
    )


def _vector(node: Node, index: int, count: int, default: float) -> npt.NDArray[np.float64]:
    """Gain or offset, float64 (n,)."""
    held = node.constant(index)
    return np.broadcast_to(np.asarray(default if held is None else held, np.float64).ravel(), count)
