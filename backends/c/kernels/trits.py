"""Ternary weights, five to a byte: 3^5 = 243 of its 256 values, 1.6 bits a weight.

Five weights are a number v to base 3, the first its highest digit, each digit 1 more than its weight. The byte is
ceil(256 v / 243): its product with 3 carries the first digit into the bits above it, what stays below carries the
second one with the next product, and so on. The upper bits of its product with 3^i, nothing taken off before, are the
first i digits as a number.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bitsmith.ir.formats import Format
from bitsmith.ir.grids import TERNARY

PER_BYTE = 5

POWERS = 3 ** np.arange(PER_BYTE - 1, -1, -1)
"""What each digit is times in v."""

FARTHEST = 80_000
"""Weights of a row that the generated function `trit` can find one of: it divides by a product within 32 bits."""

PACKED = "five to a byte"
"""How they lie, as comments and reports say it."""

CROWDED = f"its weights lie {PACKED}"
"""Why kernels that cannot take them apart refuse them."""


def is_ternary(chosen: Format) -> bool:
    """Whether weights of this format are -1, 0 or 1 each, and so packed."""
    return chosen.grid == TERNARY


def pack(weights: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """Rows of ternary weights, (rows, n), as (rows, bytes); weights that fill the last byte are 0."""
    filled = np.pad(weights.astype(np.int64) + 1, ((0, 0), (0, -weights.shape[1] % PER_BYTE)), constant_values=1)
    values = filled.reshape(len(filled), -1, PER_BYTE) @ POWERS
    return ((256 * values + 242) // 243).astype(np.uint8)
