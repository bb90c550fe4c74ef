"""What this backend cannot be asked for."""

from __future__ import annotations

from bitsmith.backend import Refusal
from bitsmith.target import Target

FEATURES = frozenset(("dsp", "mve", "no-multiply", "registers"))
"""That kernels go by: Armv7E-M DSP, Helium, the want of a multiplier, and some 30 registers."""


def refusals(target: Target) -> list[Refusal]:
    """What in a target no kernel knows."""
    where = f"target {target.name}"
    unknown = [one for one in target.features if one not in FEATURES]
    return [
        Refusal(where, f"no kernel knows of the feature {one}", f"Known: {', '.join(sorted(FEATURES))}.")
        for one in unknown
    ]
