"""How weights lie in flash, and how the inner loop that reads them gets them out again.

Rows are one reduction each: the weights of one output, in the order in which its inputs lie in memory. Below 8 bits
they are packed, each row starting on a byte of its own: ternary ones as trits.py says, others little end first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels import trits
from bitsmith.backends.c.kernels.kernel import Constant
from bitsmith.ir.formats import Format, IntegerArray
from bitsmith.ir.grids import Codebook

PACKED = (2, 4)
"""Widths that are packed; others take the next of them, or whole bytes."""


@dataclass(frozen=True, eq=False)
class Weights:
    """Rows of weights as the kernels' macro `dot` reads them.

    bits:      of an element in flash: 2, 4, 8 or 16; 2 of ternary ones, though they take less.
    signed:    whether an element is two's complement; one that is looked up is not.
    looked_up: whether an element is an index into `levels`.
    based:     whether an element counts from its output's own lowest weight, which `lowest` holds.
    levels:    how many levels each output has of its own; 0 where all share theirs.
    row_bytes: distance between rows in elements of the array: bytes where packed.
    constants: `weight`, and `levels` where they are looked up.
    ternary:   whether an element is one of five that share a byte.
    """

    bits: int
    signed: bool
    looked_up: bool
    based: bool
    levels: int
    row_length: int
    constants: tuple[Constant, ...]
    ternary: bool = False

    @property
    def per_byte(self) -> int:
        """Elements in a byte, 1 where they are not packed."""
        return trits.PER_BYTE if self.ternary else max(8 // self.bits, 1)

    @property
    def description(self) -> str:
        """For a comment."""
        if self.ternary:
            return f"ternary weights, {trits.PACKED}"
        packed = f", {self.per_byte} to a byte, little end first" if self.per_byte > 1 else ""
        return f"{self.bits}-bit {'indices' if self.looked_up else 'weights'}{packed}"


def weights(rows: IntegerArray, chosen: Format) -> Weights:
    """Choose how rows, (outputs, inputs), of weights of this format are stored."""
    grid = chosen.grid
    outputs = len(rows)
    if trits.is_ternary(chosen):
        return _ternary(rows)
    if isinstance(grid, Codebook) and grid.kind == "offset" and width(grid.bits) in PACKED:
        return _based(rows, grid)
    if isinstance(grid, Codebook) and width(grid.bits) < narrowest(rows):
        return _looked_up(rows, grid)
    lowest, highest = int(rows.min(initial=0)), int(rows.max(initial=0))
    signed = lowest < 0 or not 0 <= highest >= 1 << 7
    kind = _type(lowest, highest)
    bits = narrowest(rows)
    if bits in PACKED:
        packed = pack(rows, bits)
        signed = lowest < 0
        constant = Constant("weight", "uint8_t", packed, f"({outputs}, {rows.shape[1]}), {8 // bits} to a byte")
        return Weights(bits, signed, False, False, 0, packed.shape[1], (constant,))
    constant = Constant("weight", f"{kind}_t", rows, f"({outputs}, {rows.shape[1]})")
    return Weights(bits, signed, False, False, 0, rows.shape[1], (constant,))


def narrowest(rows: IntegerArray) -> int:
    """The width in which these integers can be kept as they are: 2, 4, 8, 16 or 32 bits."""
    lowest, highest = int(rows.min(initial=0)), int(rows.max(initial=0))
    for bits in (*PACKED, 8, 16):
        if (-(1 << (bits - 1)) <= lowest and highest < 1 << (bits - 1)) or (lowest >= 0 and highest < 1 << bits):
            return bits
    return 32


def span_bits(rows: IntegerArray) -> int | None:
    """The width, 2 or 4 bits, that holds each row's weights above its lowest; None where they take more."""
    span = int(np.ptp(rows.astype(np.int64), axis=1).max(initial=0))
    return next((bits for bits in PACKED if span < 1 << bits), None)


def width(bits: int) -> int:
    """The width that elements of so many bits are kept in."""
    return next(one for one in (*PACKED, 8, 16) if bits <= one)


def pack(elements: npt.NDArray[np.integer], bits: int) -> npt.NDArray[np.uint8]:
    """Rows of integers of 2 or 4 bits, (rows, n), packed little end first: (rows, bytes), filled up with 0."""
    per_byte = 8 // bits
    codes = (elements.astype(np.int64) & ((1 << bits) - 1)).astype(np.uint8)
    padded = np.zeros((len(codes), -(-codes.shape[1] // per_byte) * per_byte), np.uint8)
    padded[:, : codes.shape[1]] = codes
    parts = padded.reshape(len(codes), -1, per_byte)
    shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
    packed: npt.NDArray[np.uint8] = np.bitwise_or.reduce(parts << shifts, axis=2)
    return packed


def _ternary(rows: IntegerArray) -> Weights:
    packed = trits.pack(rows)
    comment = f"({len(rows)}, {rows.shape[1]}) to base 3, {trits.PACKED}"
    weight = Constant("weight", "uint8_t", packed, comment)
    return Weights(2, True, False, False, 0, packed.shape[1], (weight,), ternary=True)


def _based(rows: IntegerArray, grid: Codebook) -> Weights:
    """Weights of runs of neighbouring integers, each output's from a lowest one of its own."""
    bits = width(grid.bits)
    lowest = np.array([grid.rows[min(index, len(grid.rows) - 1)][0] for index in range(len(rows))])
    packed = pack(rows.astype(np.int64) - lowest[:, None], bits)
    weight = Constant(
        "weight", "uint8_t", packed, f"({len(rows)}, {rows.shape[1]}) above the lowest, {8 // bits} to a byte"
    )
    return Weights(bits, False, False, True, 0, packed.shape[1], (weight, Constant("lowest", "int8_t", lowest)))


def _looked_up(rows: IntegerArray, grid: Codebook) -> Weights:
    bits = width(grid.bits)
    per_row = [grid.rows[min(index, len(grid.rows) - 1)] for index in range(len(rows))]
    indices = np.stack([np.searchsorted(levels, row) for levels, row in zip(per_row, rows, strict=True)])
    longest = max(map(len, grid.rows))
    levels = np.array([[*row, *[0] * (longest - len(row))] for row in grid.rows], np.int64)
    kind = _type(int(levels.min()), int(levels.max()))
    data = pack(indices, bits) if bits in PACKED else indices
    shared = len(grid.rows) == 1
    return Weights(
        bits,
        False,
        True,
        False,
        0 if shared else longest,
        data.shape[1],
        (
            Constant("weight", "uint8_t" if bits <= 8 else "uint16_t", data, f"({len(rows)}, {rows.shape[1]}) indices"),
            Constant("levels", f"{kind}_t", levels, f"of the {grid.kind} codebook" + ("" if shared else ", by output")),
        ),
    )


def _type(lowest: int, highest: int) -> str:
    """The smallest C integer that holds both, signed where either would do."""
    for name in ("int8", "uint8", "int16", "uint16", "int32"):
        info = np.iinfo(name)
        if info.min <= lowest and highest <= info.max:
            return name
    raise AssertionError("weights of more than 32 bits")
