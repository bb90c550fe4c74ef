"""Round each weight by itself."""

from __future__ import annotations

from bitsmith.passes.rounding.problem import Reals, Rounding


def nearest(problem: Rounding) -> Reals:
    """The allowed integer nearest to w/s, half up, as `Format.quantize` rounds."""
    return problem.nearest()
