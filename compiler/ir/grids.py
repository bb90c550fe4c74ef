"""Grids: which integers the weights of a format may be, where that is not all of its type's.

A grid says what storage and table kernels live on. What a weight means is its integer times its scale, whatever the
grid: an execution that multiplies integers needs to know nothing of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError

LARGEST_MULTIPLIER = 255
CODE_BITS = range(2, 17)


@dataclass(frozen=True)
class Codebook:
    """Some integers only; a weight is stored as the index of its own.

    rows: one for all channels, or one per channel: the integers that it may use, ascending, each once.
    kind: what the integers were made by, such as offset, ternary, k-means, powers or e4m3.
    """

    rows: tuple[tuple[int, ...], ...]
    kind: str

    def __post_init__(self) -> None:
        if not self.rows or any(len(row) < 2 or list(row) != sorted(set(row)) for row in self.rows):
            raise InternalError(f"a {self.kind} codebook whose rows are not ascending integers, two or more")

    @property
    def bits(self) -> int:
        """Of an index."""
        return max(len(row) - 1 for row in self.rows).bit_length()

    @property
    def lowest(self) -> int:
        """The least integer in any row."""
        return min(row[0] for row in self.rows)

    @property
    def highest(self) -> int:
        """The greatest integer in any row."""
        return max(row[-1] for row in self.rows)

    def fits(self, channels: int, inputs: int) -> bool:
        """Whether there is a row for each of this many channels, or one for all; any number of inputs will do."""
        return len(self.rows) in (1, channels)

    def holds(self, integers: npt.NDArray[np.integer]) -> bool:
        """Whether every one of the integers, (channels, n), is in its channel's row."""
        rows = self.rows if len(self.rows) > 1 else self.rows * len(integers)
        return all(bool(np.isin(one, row).all()) for row, one in zip(rows, integers, strict=True))

    def nearest(self, steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The integer nearest to each of `steps`, the larger of two as near; (channels, n) -> (channels, n)."""
        if len(self.rows) == 1:
            return _nearest(self.rows[0], steps)
        return np.stack([_nearest(row, one) for row, one in zip(self.rows, steps, strict=True)])

    def to_json(self) -> dict[str, object]:
        """As plain data, as the manifest holds it."""
        return {"kind": self.kind, "bits": self.bits, "rows": [list(row) for row in self.rows]}


@dataclass(frozen=True)
class Grouped:
    """Each integer is code x multiplier, with a multiplier for every run of `size` inputs of a channel.

    A scale in two steps (Dai et al. 2021, VS-Quant, arXiv:2102.04503, section 4): the multipliers are what is per
    group, and stay integers. Inputs count along the flattened weight of a channel: in-channel, then kernel.

    bits: of a code, which lies in [-(2^(bits-1) - 1), 2^(bits-1) - 1]. multipliers: (channels, groups), 1 to 255.
    """

    bits: int
    size: int
    multipliers: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if self.bits not in CODE_BITS:
            raise InternalError(f"groups of codes of {self.bits} bits")
        if self.size < 1 or not self.multipliers or len({len(row) for row in self.multipliers}) != 1:
            raise InternalError("groups that are empty, or not as many in each channel")
        if any(not 1 <= one <= LARGEST_MULTIPLIER for row in self.multipliers for one in row):
            raise InternalError(f"a group's multiplier outside 1 to {LARGEST_MULTIPLIER}")

    @property
    def code(self) -> int:
        """The largest code."""
        return (1 << (self.bits - 1)) - 1

    @property
    def lowest(self) -> int:
        """The least product of a level and a multiplier."""
        return -self.highest

    @property
    def highest(self) -> int:
        """The greatest product of a level and a multiplier."""
        return self.code * max(map(max, self.multipliers))

    def fits(self, channels: int, inputs: int) -> bool:
        """Whether there is one multiplier for every group of this many inputs of this many channels."""
        return len(self.multipliers) == channels and len(self.multipliers[0]) == -(-inputs // self.size)

    def holds(self, integers: npt.NDArray[np.integer]) -> bool:
        """Whether every one of the integers, (channels, n), is a code times its group's multiplier."""
        codes = integers / self.spread(integers.shape[1])
        return bool(np.all((codes == np.rint(codes)) & (np.abs(codes) <= self.code)))

    def spread(self, inputs: int) -> npt.NDArray[np.float64]:
        """The multiplier of each input: (channels, inputs)."""
        return np.array(self.multipliers, np.float64)[:, np.arange(inputs) // self.size]

    def nearest(self, steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The integer nearest to each of `steps`, the larger of two as near; (channels, n) -> (channels, n)."""
        if not self.fits(*steps.shape):
            groups = (len(self.multipliers), len(self.multipliers[0]))
            raise InternalError(f"groups of {groups} over weights of {steps.shape}")
        multipliers = self.spread(steps.shape[1])
        return np.clip(np.floor(steps / multipliers + 0.5), -self.code, self.code) * multipliers

    def to_json(self) -> dict[str, object]:
        """As plain data, as the manifest holds it."""
        return {
            "kind": "groups",
            "bits": self.bits,
            "size": self.size,
            "multipliers": [list(row) for row in self.multipliers],
        }


Grid = Codebook | Grouped


def _nearest(row: tuple[int, ...], steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    levels = np.array(row, np.float64)
    return levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, steps, side="right")]


def offset(bits: int, upward: tuple[bool, ...]) -> Codebook:
    """Runs of 2^bits integers with one more below 0, or, where `upward`, above it; one row per channel.

    At few bits the one level more is worth having on the side where a channel needs it.
    """
    half = 1 << (bits - 1)
    return Codebook(tuple(tuple(range(-half + up, half + up)) for up in upward), "offset")


TERNARY = Codebook(((-1, 0, 1),), "ternary")

TERNARY_BITS = 8 / 5
"""Of a ternary weight in storage: five to a byte, since 3^5 = 243 does not exceed 256."""


def powers(bits: int) -> Codebook:
    """0 and +-2^e for neighbouring exponents e: products are shifts (Miyashita et al. 2016, arXiv:1603.01025)."""
    positive = [1 << exponent for exponent in range((1 << (bits - 1)) - 1)]
    return Codebook((tuple(sorted([*(-one for one in positive), 0, *positive])),), "powers")


def power_sums(bits: int) -> Codebook:
    """The integers below 2^(bits-1) that are a sum or difference of two powers of two: a product is two shifts.

    (Additive powers of two: Li et al. 2019, APoT, arXiv:1909.13144, section 2.2, here over all pairs of exponents.)
    """
    terms = [0, *(sign << exponent for exponent in range(bits) for sign in (1, -1))]
    reach = (1 << (bits - 1)) - 1
    return Codebook((tuple(sorted({a + b for a in terms for b in terms if abs(a + b) <= reach})),), "power-sums")


MINIFLOATS = {"e4m3": (4, 3), "e5m2": (5, 2), "e3m2": (3, 2), "e2m3": (2, 3), "e2m1": (2, 1)}
"""Exponent and mantissa bits (Micikevicius et al. 2022, arXiv:2209.05433; OCP Microscaling Formats 1.0)."""

LEVEL_BITS = 13
"""Magnitude of a minifloat's integers: what is finer than 2^-13 of the largest is left out, so that sums fit int32."""


def minifloat(kind: str) -> Codebook:
    """The values of a minifloat in units that make them integers (Aggarwal et al. 2023, arXiv:2311.12359).

    Of one whose exponents span more than an integer weight should, those that are multiples of the unit: all of them
    are values of the minifloat. Infinities and NaN are left out.
    """
    exponents, mantissas = MINIFLOATS[kind]
    # Of the two of 8 bits the largest codes are no numbers.
    top = {"e4m3": 448, "e5m2": 57344}.get(kind)
    bias = (1 << (exponents - 1)) - 1
    least = 2.0 ** (1 - bias - mantissas)
    subnormal = [mantissa * least for mantissa in range(1 << mantissas)]
    normal = [
        ((1 << mantissas) + mantissa) * least * 2**exponent
        for exponent in range((1 << exponents) - 1)
        for mantissa in range(1 << mantissas)
    ]
    finite = [value for value in [*subnormal, *normal] if top is None or value <= top]
    unit = max(least, 2.0 ** (math.ceil(math.log2(max(finite))) - LEVEL_BITS))
    positive = sorted({int(value / unit) for value in finite if (value / unit).is_integer()} - {0})
    return Codebook((tuple(sorted([*(-one for one in positive), 0, *positive])),), kind)


CODEBOOK_LEVEL = 127
"""The largest integer of a codebook, so that products are those of 8-bit integers."""


def codebook(bits: int) -> Codebook:
    """A codebook of 2^bits entries, spread evenly until its integers are found for each weight."""
    levels = np.linspace(-CODEBOOK_LEVEL, CODEBOOK_LEVEL, 1 << bits)
    return Codebook((tuple(int(level) for level in levels),), "k-means")


def _of_kind(kind: str) -> Callable[[int], Grid]:
    return lambda bits: minifloat(kind)


INTEGERS = "int"
"""The format of all integers of a width, for which there is no grid."""

FORMATS: Mapping[str, Callable[[int], Grid]] = MappingProxyType(
    {
        "codebook": codebook,
        "power-sums": power_sums,
        "powers": powers,
        "ternary": lambda bits: TERNARY,
        **{kind: _of_kind(kind) for kind in MINIFLOATS},
    }
)
"""Kinds of grid besides, by the name that options and targets give them; each is made for some bits."""
