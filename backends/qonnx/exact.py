"""What makes float32 arithmetic on reals equal to the integer graph: powers of two, and sums below 2^24.

Every value is an integer times a power of two, its format's scale. A product or sum of such values is again one, and
float32 holds it exactly while the integer stays below 2^24 in magnitude. So nothing rounds but the Quant nodes, which
round where the integer graph does. Whatever would break this is refused by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from bitsmith.errors import UnsupportedError
from bitsmith.ir.bounds import Interval
from bitsmith.ir.formats import Format
from bitsmith.ir.integer import AveragePool, Operation, Requantize, Value

Integers = npt.NDArray[np.int64]

MANTISSA_BITS = 24
"""Of float32: all integers up to 2^24 are exact."""

EXPONENTS = range(-100, 101)
"""Of scales: products of two, and 24 bits on top, stay normal numbers."""

SCALES_FIX = "Compile with --scales power-of-two --symmetric-activations."


def exponents(kind: Format, where: str) -> npt.NDArray[np.int64]:
    """The exponents of a format's scales, or UnsupportedError where one is not a power of two."""
    found = []
    for scale in kind.scale:
        mantissa, exponent = math.frexp(scale)
        if mantissa != 0.5:
            raise UnsupportedError(f"the scale {scale:g} is not a power of two", where=where, fix=SCALES_FIX)
        if exponent - 1 not in EXPONENTS:
            raise UnsupportedError(f"a scale of 2^{exponent - 1} is out of all proportion", where=where)
        found.append(exponent - 1)
    return np.array(found, dtype=np.int64)


def exponent(kind: Format, where: str) -> int:
    """The exponent of a format's one scale."""
    found = exponents(kind, where)
    if len(found) != 1:
        raise UnsupportedError("an activation with a scale per channel", where=where)
    return int(found[0])


def require_symmetric(value: Value) -> None:
    """Refuse a value whose zero point is not 0, or whose scale is not one power of two."""
    if value.format.zero_point != 0:
        raise UnsupportedError(f"the zero point is {value.format.zero_point}", where=value.name, fix=SCALES_FIX)
    if value.format.type.bits == 1 and value.format.type.signed:
        raise UnsupportedError("a signed integer of 1 bit is bipolar in QONNX", where=value.name, fix="Use 2 bits.")
    exponent(value.format, value.name)


def right_shifts(operation: Operation, rule: Requantize, ratio_exponents: npt.NDArray[np.int64]) -> None:
    """Refuse a requantize step that does not scale by exactly 2^ratio_exponents, one per multiplier or one for all."""
    multipliers = np.broadcast_to(
        rule.multiplier.ravel(), np.broadcast_shapes((rule.multiplier.size,), ratio_exponents.shape)
    )
    ratios = np.broadcast_to(ratio_exponents, multipliers.shape)
    for multiplier, ratio in zip(multipliers.tolist(), ratios.tolist(), strict=True):
        if Fraction(multiplier, 1 << rule.shift) != Fraction(2) ** ratio:
            raise UnsupportedError(
                f"it rescales by {multiplier} / 2^{rule.shift}, which is not the power of two 2^{ratio}",
                where=f"{operation.kind} {operation.name}",
                fix=SCALES_FIX,
            )


def require_exact(operation: Operation, magnitude: int) -> None:
    """Refuse an accumulator whose partial sums can reach `magnitude` steps, where float32 does not hold all of them."""
    if magnitude >= 1 << MANTISSA_BITS:
        raise UnsupportedError(
            f"its sums can reach {magnitude:,}, beyond the 2^{MANTISSA_BITS} up to which float32 is exact",
            where=f"{operation.kind} {operation.name}",
            fix="Use fewer bits for its weights or its input.",
        )


def half_steps(shifts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Half a step of the output in steps of the accumulator, 2^(shift-1): `floor(x + 1/2)` rounds half up.

    shifts: by how many bits each channel is shifted right. Where nothing is shifted out, nothing is rounded.
    """
    return np.where(shifts > 0, np.left_shift(1, np.maximum(shifts, 1) - 1), 0).astype(np.int64)


@dataclass(frozen=True)
class Reciprocal:
    """`floor(sum * multiplier / 2^shift + 1/2)`: an average by a narrow multiplier."""

    multiplier: int
    shift: int


def reciprocal(operation: AveragePool, sums: Interval) -> Reciprocal:
    """The least multiplier that gives what the operation's own of 31 bits gives, for every sum there can be.

    sums: the range of the accumulator. All of it is tried. Raises UnsupportedError where no multiplier does whose
    products float32 holds.
    """
    rule, where = operation.requantize, f"AveragePool {operation.name}"
    if rule.multiplier.size != 1:
        raise UnsupportedError(
            "its windows average over different counts",
            where=where,
            fix="Pad with count_include_pad = 1, or not at all.",
        )
    multiplier = int(rule.multiplier.ravel()[0])
    if sums.magnitude >= 1 << MANTISSA_BITS:
        require_exact(operation, sums.magnitude)
    every = np.arange(sums.lowest, sums.highest + 1, dtype=np.int64)
    wanted = np.clip(_scaled(every, multiplier, rule.shift), rule.lowest, rule.highest)
    for shift in range(1, rule.shift + 1):
        narrow = _multiplier(every, wanted, rule, shift)
        if narrow is None:
            continue
        if sums.magnitude * narrow + (1 << (shift - 1)) >= 1 << MANTISSA_BITS:
            break
        return Reciprocal(narrow, shift)
    raise UnsupportedError(
        "no multiplier that float32 holds divides its sums as the integer graph does",
        where=where,
        fix="Pool over a power of two of elements, or use fewer bits for its input.",
    )


def _multiplier(sums: Integers, wanted: Integers, rule: Requantize, shift: int) -> int | None:
    """The least m > 0 for which `(sum * m + 2^(shift - 1)) >> shift`, clamped, is what is wanted of every sum.

    Each sum bounds m: `wanted * 2^shift <= sum * m + 2^(shift - 1) < (wanted + 1) * 2^shift`, the clamp leaves one side
    open, and a sum below 0 turns the sides round.
    """
    half = 1 << (shift - 1)
    least, most = (wanted << shift) - half, ((wanted + 1) << shift) - 1 - half
    below, above = sums < 0, sums > 0
    rises, falls = wanted > rule.lowest, wanted < rule.highest
    floors = [-(-least[above & rises] // sums[above & rises]), -(most[below & falls] // -sums[below & falls])]
    ceilings = [most[above & falls] // sums[above & falls], least[below & rises] // sums[below & rises]]
    low = max([1, *(int(one.max()) for one in floors if one.size)])
    return low if all(low <= int(one.min()) for one in ceilings if one.size) else None


def _scaled(sums: Integers, multiplier: int, shift: int) -> Integers:
    return (sums * multiplier + (1 << (shift - 1))) >> shift
