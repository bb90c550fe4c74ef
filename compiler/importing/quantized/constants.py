"""Constants that a file holds as integers, followed through the ops that only move their elements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.errors import ModelError, UnsupportedError
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.quantizers import FixedWeight

Array = npt.NDArray[Any]

CENTRED = "Quantize weights symmetrically, with zero point 0 (or 128 in uint8)."


@dataclass(frozen=True, eq=False)
class QuantizedConstant:
    """`real = scales * (integers - zero_points)`, all three of one shape, integers of `type`."""

    integers: npt.NDArray[np.int64]
    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    type: IntegerType

    @property
    def real(self) -> npt.NDArray[np.float32]:
        """The reals, as DequantizeLinear makes them."""
        centred = (self.integers - self.zero_points).astype(np.float64)
        return (centred * self.scales).astype(np.float32)

    def moved(self, move: Callable[[Array], Array]) -> QuantizedConstant:
        """What a Transpose, Reshape or the like makes of it."""
        return QuantizedConstant(move(self.integers), move(self.scales), move(self.zero_points), self.type)

    def as_weight(self, axis: int, where: str) -> FixedWeight:
        """The integers of a weight whose outputs are along `axis`; UnsupportedError where no kernel could take them."""
        outputs = self.integers.shape[axis]
        if self.integers.size == 0:
            raise ModelError("a weight without elements", where=where, fix="Export the model again.")
        scales = np.moveaxis(self.scales, axis, 0).reshape(outputs, -1)
        integers = np.moveaxis(self.integers - self.zero_points, axis, 0).reshape(outputs, -1)
        if scales.size and np.any(scales != scales[:, :1]):
            raise UnsupportedError(
                "several weight scales for one output channel",
                where=where,
                fix="Quantize weights per tensor, or per output channel.",
            )
        kind = IntegerType(self.type.bits)
        if integers.size and (integers.min() < kind.lowest or integers.max() > kind.highest):
            raise UnsupportedError(
                f"asymmetric weights: less their zero point they reach from {integers.min()} to {integers.max()}, "
                f"beyond {kind}",
                where=where,
                fix=CENTRED,
            )
        return FixedWeight(integers, scales[:, 0], kind.bits)

    def as_operand(self) -> Format | None:
        """The format of a constant that is read like an activation; None if its scales differ, as a bias' may."""
        scales, zero_points = np.unique(self.scales), np.unique(self.zero_points)
        if scales.size != 1 or zero_points.size != 1:
            return None
        return Format(self.type, (float(scales[0]),), int(zero_points[0]))


def spread(parameter: Array, shape: tuple[int, ...], axis: int, where: str) -> Array:
    """Scales or zero points, one or a vector along `axis`, in the full shape of what they belong to."""
    if parameter.size == 1:
        return np.broadcast_to(parameter.reshape(()), shape)
    if parameter.ndim == 1 and shape and -len(shape) <= axis < len(shape) and shape[axis] == parameter.size:
        along = [1] * len(shape)
        along[axis] = parameter.size
        return np.broadcast_to(parameter.reshape(along), shape)
    try:
        if parameter.ndim == len(shape):
            return np.broadcast_to(parameter, shape)
    except ValueError:
        pass
    raise ModelError(
        f"{parameter.size} scales or zero points for a shape of {list(shape)}",
        where=where,
        fix="Export the model again; scales for blocks of a channel cannot be compiled.",
    )


def rounded(
    real: Array, scales: Array, zero_points: Array, kind: IntegerType, where: str, ends: tuple[int, int] | None = None
) -> QuantizedConstant:
    """QuantizeLinear of a constant: half to even in float32, saturated at the ends of the type or nearer ones."""
    if not np.isfinite(real).all():
        raise ModelError("a weight that is not finite", where=where, fix="Repair the weights: training diverged.")
    steps = np.rint(real.astype(np.float32) / scales.astype(np.float32)).astype(np.float64)
    integers = np.clip(steps + zero_points, *(ends or (kind.lowest, kind.highest))).astype(np.int64)
    return QuantizedConstant(integers, scales, zero_points, kind)
