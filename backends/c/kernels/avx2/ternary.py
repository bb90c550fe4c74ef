"""Ternary weights, five to a byte in flash, as codes again: a block of outputs at a time, for all columns of a panel.

Codes of 4 or 2 bits share bytes. Of a block of such bytes, the lowest codes come first in flash, then the next ones:
byte i of each part holds five, those of the bytes i, i + part, i + 2 part and so on, so that vectors of bytes become
vectors of codes. A digit is how often three times a byte passes 256: whether it is 86 or more, and 171 or more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitsmith.backends.c.kernels import trits
from bitsmith.backends.c.kernels.avx2.codes import Codes
from bitsmith.backends.c.kernels.kernel import Constant
from bitsmith.ir.formats import IntegerArray

VECTOR = 32
HELPER = "avx2/trits.c.j2"

LEVELS = np.array([-1, 0, 1])
"""Of codes, which are the digits."""


@dataclass(frozen=True)
class Block:
    """A block of codes. fields: codes of a byte. part: bytes in flash of one of them in each byte."""

    fields: int
    part: int

    @property
    def packed(self) -> int:
        """Bytes in flash."""
        return self.fields * self.part

    @property
    def bytes(self) -> int:
        """Of codes."""
        return trits.PER_BYTE * self.part


def codes(rows: IntegerArray) -> Codes:
    """Rows of ternary weights as codes."""
    return Codes(LEVELS, rows.astype(np.int64) + 1, None)


def crowded(blocks: Constant, count: int, fields: int) -> tuple[Block, Constant]:
    """So many blocks of bytes of ternary codes, `fields` to a byte, as five to a byte."""
    data: npt.NDArray[np.int64] = blocks.data.astype(np.int64).reshape(count, -1)
    bits = 8 // fields
    part = -(-data.shape[1] // (trits.PER_BYTE * VECTOR)) * VECTOR
    apart = np.stack([data >> bits * field & ((1 << bits) - 1) for field in range(fields)], axis=1)
    filled = np.ones((count, fields, trits.PER_BYTE * part), np.int64)
    filled[..., : data.shape[1]] = apart
    runs = filled.reshape(count * fields, trits.PER_BYTE, part).swapaxes(1, 2)
    packed = trits.pack(runs.reshape(count * fields, -1) - 1).reshape(count, -1)
    comment = f"{blocks.comment}; of these codes five to a byte, {part} bytes of each"
    return Block(fields, part), Constant("weight", "uint8_t", packed, comment, alignment=VECTOR)
