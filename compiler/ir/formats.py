"""Formats: how integers stand for reals, and the plan that gives each value its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError, PipelineError
from bitsmith.ir.grids import TERNARY, TERNARY_BITS, Codebook, Grid

BLOCK = 1 << 18
"""Elements that are rounded at a time."""

IntegerArray = npt.NDArray[np.signedinteger | np.unsignedinteger]
FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class IntegerType:
    """A two's complement or unsigned integer of 1 to 32 bits."""

    bits: int
    signed: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 32:
            raise InternalError(f"an integer type of {self.bits} bits", fix="Bits go from 1 to 32.")

    @property
    def lowest(self) -> int:
        """The least integer of the type."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        """The greatest integer of the type."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def storage(self) -> np.dtype[np.signedinteger | np.unsignedinteger]:
        """The smallest numpy integer that holds every value of this type."""
        width = 8 if self.bits <= 8 else 16 if self.bits <= 16 else 32
        return np.dtype(f"{'int' if self.signed else 'uint'}{width}")

    def __str__(self) -> str:
        return f"{'int' if self.signed else 'uint'}{self.bits}"


@dataclass(frozen=True)
class Format:
    """`real = scale * (q - zero_point)` over the integers of `type`.

    scale:      one positive float32 value, or one per channel along `axis`.
    zero_point: the integer that stands for 0.0; 0 where the format is symmetric.
    axis:       the channel axis of the value for per-channel scales, None for per-tensor.
    grid:       of a weight, which integers of `type` it may be; None for all. Rows and multipliers per channel count
                along `axis`, so they ask for one.
    base:       of a softmax's shares, where it is not None: then `real = base^-q` over unsigned integers, and the
                largest of them is 0.0 (a logarithm with an adaptive base: AdaLog, Wu et al. 2024, arXiv:2407.12951,
                section 3.2; there without a zero, and 2^(p/37) only). The scale is 1 and the zero point 0.
    """

    type: IntegerType
    scale: tuple[float, ...]
    zero_point: int = 0
    axis: int | None = None
    grid: Grid | None = None
    base: float | None = None

    def __post_init__(self) -> None:
        # Scales are float32 everywhere, so that an ONNX QuantizeLinear holds exactly the scale that the
        # integer multipliers were computed from.
        with np.errstate(over="ignore"):  # what overflows is refused below
            object.__setattr__(self, "scale", tuple(float(np.float32(s)) for s in self.scale))
        if not self.scale or any(not math.isfinite(s) or s <= 0 for s in self.scale):
            raise InternalError("a scale that is not a positive finite float32", where=str(self.scale[:4]))
        if self.axis is None and len(self.scale) != 1:
            raise InternalError("several scales without a channel axis")
        if not self.type.lowest <= self.zero_point <= self.type.highest:
            raise InternalError(f"zero point {self.zero_point} is outside {self.type}")
        if self.grid is not None:
            self._require_grid(self.grid)
        if self.base is not None:
            self._require_logarithm(self.base)

    def _require_logarithm(self, base: float) -> None:
        plain = self.scale == (1.0,) and self.zero_point == 0 and self.grid is None and self.axis is None
        if not plain or self.type.signed or not 1 < base < math.inf:
            raise InternalError(f"a logarithm of base {base} beside {self.type}, scales, a zero point or a grid")

    def _require_grid(self, grid: Grid) -> None:
        rows = grid.rows if isinstance(grid, Codebook) else grid.multipliers
        if self.zero_point != 0:
            raise InternalError("a grid around a zero point other than 0")
        if len(rows) > 1 and len(rows) != len(self.scale):
            raise InternalError(f"a grid of {len(rows)} channels beside {len(self.scale)} scales")
        if not self.type.lowest <= grid.lowest <= grid.highest <= self.type.highest:
            raise InternalError(f"a grid from {grid.lowest} to {grid.highest} in {self.type}")

    @property
    def bits(self) -> float:
        """What an element takes in storage: a whole number, or 1.6 of a ternary weight."""
        if self.grid == TERNARY:
            return TERNARY_BITS
        return self.type.bits if self.grid is None else self.grid.bits

    @property
    def is_per_channel(self) -> bool:
        """Whether each channel along `axis` has a scale of its own."""
        return self.axis is not None

    def scales_for(self, rank: int) -> npt.NDArray[np.float64]:
        """The scales as float64, shaped to broadcast against a value of `rank` dimensions."""
        shape = [1] * rank
        if self.axis is not None:
            shape[self.axis] = len(self.scale)
        return np.array(self.scale, dtype=np.float64).reshape(shape)

    def quantize(self, real: npt.ArrayLike) -> IntegerArray:
        """Round half up to the grid and saturate; returns integers of the storage type, of real's shape."""
        x = np.asarray(real)
        if self.base is not None:
            return self._logarithms(x.astype(np.float64), self.base)
        scales = self.scales_for(x.ndim)
        if self.grid is not None:
            return self._on_grid(np.asarray(x / scales), self.grid)
        integers: IntegerArray = np.empty(x.shape, self.type.storage)
        for part, own in _parts(x, scales):
            steps = np.asarray(x[part] / own)
            steps += 0.5
            np.floor(steps, out=steps)
            steps += self.zero_point
            integers[part] = np.clip(steps, self.type.lowest, self.type.highest, out=steps)
        return integers

    def _logarithms(self, x: npt.NDArray[np.float64], base: float) -> IntegerArray:
        """The powers nearest to these in the logarithm, a tie to the larger; the last stands for 0 as well."""
        with np.errstate(divide="ignore"):
            powers = np.ceil(-np.log(np.maximum(x, 0.0)) / math.log(base) - 0.5)
        integers: IntegerArray = np.clip(powers, 0, self.type.highest).astype(self.type.storage)
        return integers

    def _on_grid(self, steps: npt.NDArray[np.float64], grid: Grid) -> IntegerArray:
        """The integers of the grid nearest to these."""
        axis = self.axis or 0
        channels = np.moveaxis(np.atleast_1d(steps), axis, 0)
        nearest = grid.nearest(channels.reshape(len(channels), -1)).reshape(channels.shape)
        integers: IntegerArray = np.moveaxis(nearest, 0, axis).reshape(steps.shape).astype(self.type.storage)
        return integers

    def dequantize(self, integers: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The reals that the integers stand for, as float32, of the same shape."""
        q = np.asarray(integers)
        if self.base is not None:
            exponents = q.astype(np.float64)
            return np.where(exponents < self.type.highest, self.base**-exponents, 0.0).astype(np.float32)
        reals = np.empty(q.shape, np.float32)
        for part, own in _parts(q, self.scales_for(q.ndim)):
            steps = np.asarray(q[part].astype(np.float64))
            steps -= self.zero_point
            reals[part] = steps * own
        return reals

    def to_json(self) -> dict[str, object]:
        """As plain data, as the manifest holds it."""
        grid = {} if self.grid is None else {"grid": self.grid.to_json()}
        base = {} if self.base is None else {"base": self.base}
        return {
            "bits": self.type.bits,
            "signed": self.type.signed,
            "scale": list(self.scale),
            "zero_point": self.zero_point,
            "axis": self.axis,
            **grid,
            **base,
        }


def _parts(array: npt.NDArray[Any], scales: npt.NDArray[np.float64]) -> Iterator[tuple[Any, npt.NDArray[np.float64]]]:
    """Parts of an array along its first axis that add up to it, each with its scales.

    In float64 a large weight is twice what it was, and pages that a process has not had before cost more than what is
    computed in them.
    """
    if array.size <= BLOCK:
        yield ..., scales
        return
    rows = max(1, BLOCK * len(array) // array.size)
    for start in range(0, len(array), rows):
        part = slice(start, start + rows)
        yield part, scales if len(scales) == 1 else scales[part]


def affine(lowest: float, highest: float, type: IntegerType) -> Format:
    """The asymmetric format whose grid covers [lowest, highest] and holds 0.0 exactly.

    Jacob et al. 2017 (arXiv:1712.05877), section 3: scale = range / (2^bits - 1), and the zero point is the
    integer nearest to the one that 0.0 falls on, so that zero padding costs no error.
    """
    lowest, highest = min(lowest, 0.0), max(highest, 0.0)
    scale = _positive((highest - lowest) / (type.highest - type.lowest))
    zero_point = math.floor(type.lowest - lowest / scale + 0.5)
    return Format(type, (scale,), min(max(zero_point, type.lowest), type.highest))


def symmetric(magnitude: float, type: IntegerType) -> Format:
    """The format with zero point 0 that covers [-magnitude, magnitude], or [0, magnitude] if unsigned."""
    return Format(type, (_positive(magnitude / type.highest),))


def logarithm(bits: int, base: float) -> Format:
    """The format of shares as powers of `base`, down to base^-(2^bits - 2), and 0."""
    return Format(IntegerType(bits, signed=False), (1.0,), base=base)


def to_power_of_two(chosen: Format) -> Format:
    """The format over the same type whose scale is the next power of two, and whose grid covers what this one does."""
    scale = 2.0 ** math.ceil(math.log2(chosen.scale[0]))
    lowest = (chosen.type.lowest - chosen.zero_point) * chosen.scale[0]
    zero_point = 0 if chosen.zero_point == 0 else math.floor(chosen.type.lowest - lowest / scale + 0.5)
    return Format(chosen.type, (scale,), min(max(zero_point, chosen.type.lowest), chosen.type.highest))


def packed_bytes(elements: int, bits: float) -> int:
    """Bytes of so many elements, packed at the bits that a format says."""
    # Counted in fifths of a bit, which are whole for ternary weights too.
    return -(-elements * round(5 * bits) // 40)


def holding(lowest: int, highest: int) -> IntegerType:
    """The narrowest signed type that holds these integers."""
    return IntegerType(max((~lowest if lowest < 0 else lowest).bit_length(), highest.bit_length()) + 1)


def _positive(scale: float) -> float:
    """A scale that float32 holds as a normal number: a value that is always 0.0 still needs a grid."""
    return max(scale, float(np.finfo(np.float32).tiny) * 2**24) if scale > 0 else 1.0


@dataclass(frozen=True)
class Plan:
    """Which format each value gets, by value name: activations, weights and biases alike. Immutable."""

    formats: Mapping[str, Format] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "formats", MappingProxyType(dict(self.formats)))

    def __getitem__(self, value: str) -> Format:
        if value not in self.formats:
            raise PipelineError(
                f"no pass has given {value} a format",
                where="pipeline",
                fix="Put `quantize-weights` and `quantize-activations` before the pass that needs it.",
            )
        return self.formats[value]

    def __contains__(self, value: str) -> bool:
        return value in self.formats

    def __iter__(self) -> Iterator[str]:
        return iter(self.formats)

    def with_formats(self, formats: Mapping[str, Format]) -> Plan:
        """A plan with these formats added or replaced."""
        return Plan({**self.formats, **formats})
