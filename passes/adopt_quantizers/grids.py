"""Formats of others, as a target takes them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bitsmith.errors import UnsupportedError
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.target import Target


def for_target(format: Format, name: str, target: Target) -> Format:
    """The format of an activation; unsigned integers less half their range, which is the same grid in signed ones.

    Unsigned ones with zero point 0 stay what they are for a target whose activations must be symmetric.
    """
    kind, half = format.type, 1 << (format.type.bits - 1)
    if not kind.signed and (format.zero_point == half or not target.symmetric_activations):
        format = Format(IntegerType(kind.bits), format.scale, format.zero_point - half)
    if kind.bits not in target.activation_bits:
        raise UnsupportedError(
            f"{name} has {kind.bits} bits",
            where=f"target {target.name}",
            fix=f"It runs activations of {', '.join(map(str, target.activation_bits))} bits.",
        )
    if target.symmetric_activations and format.zero_point != 0:
        raise UnsupportedError(
            f"{name} has the zero point {format.zero_point}",
            where=f"target {target.name}",
            fix="Quantize activations symmetrically: it runs zero point 0 alone.",
        )
    require_scales(format.scale, name, target)
    return format


def require_scales(scales: Iterable[float], name: str, target: Target) -> None:
    """Refuse scales that are no powers of two, where they must be."""
    if target.scales == "free":
        return
    for scale in scales:
        if math.frexp(scale)[0] != 0.5:
            raise UnsupportedError(
                f"{name} has the scale {scale:g}, no power of two",
                where=f"target {target.name}",
                fix="Train with power-of-two scales, or choose a target with free ones.",
            )
