"""What a QDQ graph takes for granted: that each dyadic multiplier is the ratio of the scales around it.

The integer graph executes its multipliers and never reads a scale. A QDQ graph executes the scales and has no
multipliers. The two mean the same only where one follows from the other, which is checked here, not assumed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bitsmith.errors import InternalError
from bitsmith.ir.integer import Operation


def expect_ratio(operation: Operation, multiplier: npt.ArrayLike, shift: int, ratio: npt.ArrayLike) -> None:
    """Raise InternalError unless multiplier / 2^shift is `ratio`, to the nearest multiplier or the one beside it.

    A ratio too small for the shift has the multiplier 1, whatever it is.
    """
    exact = np.ldexp(np.asarray(ratio, dtype=np.float64), shift)
    given = np.asarray(multiplier, dtype=np.float64)
    # The scales' product and quotient are each rounded in float64: some 2^-52 of a multiplier below 2^31.
    off = np.abs(given - exact) > 1.0
    if (off & ~((given == 1) & (exact < 1))).any():
        raise InternalError("its multiplier is not the ratio of its scales", where=f"{operation.kind} {operation.name}")
