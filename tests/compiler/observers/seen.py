"""Statistics of an array, taken as calibration takes them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bitsmith.execution.observe import StreamingValue
from bitsmith.ir.statistics import ValueStatistics


def seen(x: npt.ArrayLike, bins: int = 512) -> ValueStatistics:
    """The statistics of samples of one element each."""
    value = StreamingValue("x", bins)
    value.add(np.asarray(x, np.float32).reshape(-1, 1))
    return value.result()
