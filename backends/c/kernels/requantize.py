"""The requantize step of an operation, as kernels write it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitsmith.backends.c.kernels.kernel import Constant
from bitsmith.ir.bounds import INT32_MAGNITUDE
from bitsmith.ir.integer import Requantize


@dataclass(frozen=True, eq=False)
class ChannelRule:
    """A requantize step whose multiplier and caps are numbers, or go by the channel.

    multiplier, caps: a number that serves all channels, or None where there is an array: a constant of that name.
    function: the helper that computes it: `requantize`, or `requantize_wide` where the rescaled accumulator may pass
              int32 before it is clamped.
    """

    rule: Requantize
    multiplier: int | None
    caps: int | None
    function: str
    constants: tuple[Constant, ...]

    @property
    def has_caps(self) -> bool:
        return self.rule.caps is not None

    @property
    def helpers(self) -> tuple[str, ...]:
        return ("requantize.c.j2",) if self.function == "requantize" else ("requantize_wide.c.j2",)


def rescale_function(rule: Requantize, magnitude: int) -> str:
    """The helper whose integers hold the rescaled accumulator."""
    rescaled = (magnitude * int(rule.multiplier.max()) + (1 << (rule.shift - 1))) >> rule.shift
    return "requantize" if rescaled + abs(rule.zero_point) + 1 <= INT32_MAGNITUDE else "requantize_wide"


def channel_rule(rule: Requantize, magnitude: int, channels: int) -> ChannelRule:
    """The step of an accumulator up to `magnitude`, whose multipliers and caps are one or one a channel."""
    multiplier = np.broadcast_to(rule.multiplier.ravel(), channels)
    caps = np.broadcast_to(rule.highest if rule.caps is None else rule.caps.ravel(), channels)
    one_multiplier = bool((multiplier == multiplier[0]).all())
    one_cap = bool((caps == caps[0]).all())
    constants = []
    if not one_multiplier:
        constants.append(Constant("multiplier", "int32_t", multiplier, f"of each output, over 2^{rule.shift}"))
    if not one_cap:
        ctype = "int8_t" if caps.min() >= -128 and caps.max() < 128 else "int32_t"
        constants.append(Constant("caps", ctype, caps, "upper bound of each output"))
    return ChannelRule(
        rule,
        int(multiplier[0]) if one_multiplier else None,
        int(caps[0]) if one_cap else None,
        rescale_function(rule, magnitude),
        tuple(constants),
    )
