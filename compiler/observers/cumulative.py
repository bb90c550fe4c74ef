"""Sums of all bins up to each edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def cumulative(parts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The sum of all parts below each edge between them, of its own type: (n,) -> (n + 1,), the first 0."""
    return np.concatenate([np.zeros(1, parts.dtype), np.cumsum(parts)])
