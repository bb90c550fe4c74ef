"""The requantize step of an operation, as kernels write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels.kernel import Constant
from bitsmith.backends.c.layout import last_first
from bitsmith.ir.bounds import INT32_MAGNITUDE
from bitsmith.ir.integer import Requantize, Shape


@dataclass(frozen=True)
class Parameter:
    """A multiplier or an upper bound: one number, or an array by channel, by pixel, or by element.

    by: empty for a `value` that serves all; else `channel`, `pixel` or `element`, which the constant counts by.
    """

    by: str
    value: int


@dataclass(frozen=True, eq=False)
class RequantizeStep:
    """A requantize step as the macro `requantized` writes it.

    function:   the helper that computes it: `requantize`, or `requantize_wide` where the rescaled accumulator may pass
                int32 before it is clamped.
    constants:  `multiplier` and `caps`, where they are no single number.
    """

    rule: Requantize
    multiplier: Parameter
    caps: Parameter
    function: str
    channels: int
    constants: tuple[Constant, ...]

    @property
    def helpers(self) -> tuple[str, ...]:
        return ("requantize.c.j2",) if self.function == "requantize" else ("requantize_wide.c.j2",)


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
    return RequantizeStep(rule, multiplier, caps, rescale_function(rule, magnitude), channels, tuple(constants))


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
