"""Round each weight by itself."""

from __future__ import annotations

from bitsmith.passes.rounding.problem import Integers, Rounding


def nearest(problem: Rounding) -> Integers:
    """The nearest integer to w/s, half up, as `Format.quantize` rounds: the optimum where H is diagonal."""
    return problem.round(problem.weight / problem.scale[:, None])
