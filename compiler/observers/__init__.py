"""Observers: which range of an activation its integers should cover, chosen from its statistics.

A wider range clips less and rounds more coarsely. Each observer weighs the two in its own way; all are functions
of one type, by name in `OBSERVERS`.
"""

from __future__ import annotations

from collections.abc import Callable

from bitsmith import registry
from bitsmith.errors import PipelineError
from bitsmith.ir.statistics import ValueStatistics
from bitsmith.observers.divergence import kl
from bitsmith.observers.extremes import min_max, percentile
from bitsmith.observers.squared_error import mse

Observer = Callable[[ValueStatistics, int, bool], tuple[float, float]]
"""(statistics, levels, symmetric) -> (lowest, highest), as in `choose_range`."""

OBSERVERS: dict[str, Observer] = {"kl": kl, "min-max": min_max, "mse": mse, "percentile": percentile}

AUTO = "auto"
CANDIDATES = ("min-max", "percentile", "mse")
"""In place of one observer's name: the one of these candidates that moves the model's outputs least."""


def choose_range(
    observer: str, statistics: ValueStatistics, levels: int, symmetric: bool = False
) -> tuple[float, float]:
    """The interval (lowest, highest), within what was seen, that an observer would have integers cover.

    levels:    how many integers there are, 2 or more.
    symmetric: whether the zero point must be 0, so that the grid reaches equally far to both sides, or starts at
               0.0 if nothing below it was seen; otherwise it is the one that `formats.affine` makes.
    Raises PipelineError for an unknown observer, and for one that needs a histogram where there is none.
    """
    if observer not in OBSERVERS:
        raise PipelineError(f"there is no observer called {observer}", fix=registry.suggest(observer, OBSERVERS))
    return OBSERVERS[observer](statistics, levels, symmetric)
