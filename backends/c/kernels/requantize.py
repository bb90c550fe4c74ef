"""The requantize step of an operation, as kernels write it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.kernel import Constant
from bitsmith.backends.c.layout import last_first
from bitsmith.ir.bounds import INT32_MAGNITUDE
from bitsmith.ir.integer import Requantize, Shape


@dataclass(frozen=True)
class Parameter:
    """A multiplier or an upper bound: one number, or C for it, or an array by channel, by pixel, or by element.

    by: empty for a `value` that serves all; else `channel`, `pixel` or `element`, which the constant counts by.
    """

    by: str
    value: int | str


@dataclass(frozen=True, eq=False)
class RequantizeStep:
    """A requantize step as the macro `requantized` writes it.

    function:   the helper that computes it: `requantize`, or `requantize_wide` where the rescaled accumulator may pass
                int32 before it is clamped; or `requantize_upper`, which can be told at run time what others must be
                told when they are compiled to be fast.
    shift, zero_point: C for what it is told.
    constants:  `multiplier` and `caps`, where they are no single number.
    """

    rule: Requantize
    multiplier: Parameter
    caps: Parameter
    function: str
    shift: str
    zero_point: str
    channels: int
    constants: tuple[Constant, ...]

    @property
    def helpers(self) -> tuple[str, ...]:
        return (f"{self.function}.c.j2",)

    @property
    def upper(self) -> tuple[int, int] | None:
        """Bits beyond 32 of the shift, and what is added before they are shifted out; None if that takes more.

        floor(floor(X / 2^32 + c) / 2^n) is floor(X / 2^32 + c) over 2^n, so rounding down to 2^32 first loses nothing.
        """
        shift = self.rule.shift - 32
        if self.function != "requantize" or shift < 1:
            return None
        start = (self.rule.zero_point << shift) + (1 << (shift - 1))
        # An upper half is below 2^30, for multipliers are below 2^31.
        return (shift, start) if abs(start) <= 1 << 30 else None

    @property
    def numbers(self) -> dict[str, int | str]:
        """What functions that several operations share are told of the step at run time, by name in C."""
        factor: dict[str, int | str] = {} if self.multiplier.by else {"factor": self.multiplier.value}
        return factor if self.upper is None else {**factor, "shift": self.upper[0], "start": self.upper[1]}

    def told(self) -> RequantizeStep:
        """The step of such functions."""
        multiplier = self.multiplier if self.multiplier.by else Parameter("", "factor")
        if self.upper is None:
            return replace(self, multiplier=multiplier)
        return replace(self, multiplier=multiplier, function="requantize_upper", shift="shift", zero_point="start")


def rescale_function(rule: Requantize, magnitude: int) -> str:
    """The helper whose integers hold the rescaled accumulator."""
    rescaled = (magnitude * int(rule.multiplier.max()) + (1 << (rule.shift - 1))) >> rule.shift
    return "requantize" if rescaled + abs(rule.zero_point) + 1 <= INT32_MAGNITUDE else "requantize_wide"


def requantize_step(rule: Requantize, magnitude: int, logical: Shape, channel_axis: int = 0) -> RequantizeStep:
    """The step of an accumulator up to `magnitude`, for a result of this shape in the integer graph.

    channel_axis: 0, or the last for a Linear, whose multipliers go by its last axis.
    """
    constants = []
    multiplier, array = _parameter(rule.multiplier, logical, channel_axis)
    if array is not None:
        comment = f"by {multiplier.by}, over 2^{rule.shift}"
        constants.append(Constant("multiplier", "int32_t", array, comment))
    # A cap lies within the clamp, so it can take the place of the clamp's upper end.
    caps, array = _parameter(np.array(rule.highest) if rule.caps is None else rule.caps, logical, channel_axis)
    if array is not None:
        ctype = "int8_t" if array.min() >= -128 and array.max() < 128 else "int32_t"
        constants.append(Constant("caps", ctype, array, f"upper bound by {caps.by}"))
    channels = logical[channel_axis] if logical else 1
    function = rescale_function(rule, magnitude)
    told = str(rule.shift), str(rule.zero_point)
    return RequantizeStep(rule, multiplier, caps, function, *told, channels, tuple(constants))


def _parameter(
    array: npt.NDArray[np.int64], logical: Shape, channel_axis: int
) -> tuple[Parameter, npt.NDArray[np.int64] | None]:
    if (array == array.flat[0]).all():
        return Parameter("", int(array.flat[0])), None
    full: npt.NDArray[Any] = array.reshape((1,) * (len(logical) - array.ndim) + array.shape)
    axis = channel_axis % len(logical)
    varies = [size > 1 for size in full.shape]
    if not any(varies[:axis] + varies[axis + 1 :]):
        return Parameter("channel", 0), np.broadcast_to(full.ravel(), logical[axis])
    if axis == 0 and not varies[0]:
        return Parameter("pixel", 0), np.broadcast_to(full[0], logical[1:]).ravel()
    return Parameter("element", 0), last_first(np.broadcast_to(full, logical)).ravel()
