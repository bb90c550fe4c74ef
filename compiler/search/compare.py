"""Whether one model is better than another on the same samples, or only luckier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Paired:
    """Two models sample by sample.

    gained: samples that only the first had right. lost: that only the second had right.
    p:      how likely a split at least as uneven is between models that are equally good.
    """

    gained: int
    lost: int
    p: float


def paired(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """McNemar's test in its exact form: of the samples on which they differ, each is right on half by chance.

    McNemar 1947 (doi:10.1007/BF02295996); two-sided, by the binomial distribution.
    """
    # 50 MiB and half a second, and every compile imports this module for its report.
    from scipy.stats import binomtest

    gained = sum(one and not other for one, other in zip(first, second, strict=True))
    lost = sum(other and not one for one, other in zip(first, second, strict=True))
    p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Paired(gained, lost, p)
