"""What this backend cannot be asked for."""

from __future__ import annotations

from bitsmith.backend import Refusal
from bitsmith.backends.c.code import names
from bitsmith.backends.c.kernels import FAMILIES
from bitsmith.backends.c.kernels.preferences import OPTION, Preferences
from bitsmith.registry import suggest
from bitsmith.target import Target

FEATURES = frozenset(("avx2", "dsp", "mve", "no-multiply", "registers"))
"""That kernels go by: AVX2, Armv7E-M DSP, Helium, the want of a multiplier, and some 30 registers."""


def refusals(target: Target) -> list[Refusal]:
    """What in a target no kernel knows."""
    where = f"target {target.name}"
    families = [family.name for family in FAMILIES]
    features = [
        Refusal(where, f"no kernel knows of the feature {one}", suggest(one, FEATURES))
        for one in target.features
        if one not in FEATURES
    ]
    options = [
        Refusal(where, f"the C backend has no option {one}", f"It has one: {OPTION}.")
        for one in target.options
        if one != OPTION
    ]
    kernels = [
        Refusal(where, f"there is no kernel {one}", suggest(one, families))
        for one in Preferences.of(target).families()
        if one not in families
    ]
    prices = [] if isinstance(target.code, int) else [one for one in target.code if one not in names()]
    code = [Refusal(where, f"no code is counted under the name {one}", suggest(one, names())) for one in prices]
    return features + options + kernels + code
