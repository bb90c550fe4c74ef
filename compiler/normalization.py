"""The mean and standard deviation by which stored samples become what the model takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitsmith.arrays import ArraySource, refuse_dtype_outside, show_shape
from bitsmith.errors import DataError

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class Normalization:
    """The model input (float32(v) - mean) / std of a stored value v.

    mean, std: float32, each of a shape that broadcasts against one sample (1, ...); std > 0; all finite.
    """

    mean: Float32Array
    std: Float32Array

    @classmethod
    def read(cls, source: ArraySource, inputs: Mapping[str, tuple[int, ...]]) -> Normalization:
        """The arrays `mean` and `std` of `source`, for a model with these inputs: name -> sample shape."""
        for key, other in (("mean", "std"), ("std", "mean")):
            if key not in source.keys:
                raise DataError(
                    f"{other} without {key}",
                    where=source.name,
                    fix="Save both, or neither and the inputs as the model takes them",
                )
        if len(inputs) > 1:
            raise DataError(
                f"mean and std do not say which of the inputs {', '.join(inputs)} they are for",
                where=source.name,
                fix="Save the inputs as the model takes them, without mean and std",
            )
        (sample_shape,) = inputs.values()
        mean, std = (_statistic(source, key, sample_shape) for key in ("mean", "std"))
        if not (std > 0).all():
            raise DataError(
                "a value that is zero, negative or too small for float32",
                where=f"{source.name}, std",
                fix="Use 1 where there is nothing to scale",
            )
        return cls(mean, std)

    def apply(self, batch: Float32Array) -> None:
        """Normalize a batch (n, ...) in place, rounding after the subtraction and after the division."""
        batch -= self.mean
        batch /= self.std


def _statistic(source: ArraySource, key: str, sample_shape: tuple[int, ...]) -> Float32Array:
    where = f"{source.name}, {key}"
    header = source.header(key)
    refuse_dtype_outside("iuf", header.dtype, where)
    try:
        fits = np.broadcast_shapes(header.shape, (1, *sample_shape)) == (1, *sample_shape)
    except ValueError:
        fits = False
    if not fits:
        per_channel = (1, -1, *[1] * (len(sample_shape) - 1))
        raise DataError(
            f"shape {show_shape(header.shape)} does not broadcast against one sample, {show_shape((1, *sample_shape))}",
            where=where,
            fix=f"For one value per channel, save {key}.reshape{per_channel}",
        )
    # Overflow turns into an infinity, which is refused just below.
    with np.errstate(over="ignore"):
        values = source.load(key).astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(
            "a NaN, or a value too large for float32", where=where, fix="Compute it again from finite samples"
        )
    return values
