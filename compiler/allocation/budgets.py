"""Budgets as they are given: `flash=64KiB`, `ram=32KiB`, `bops=2G`, `cycles=20M`, `luts=20k`, `mean-weight-bits=3`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from bitsmith.registry import suggest
from bitsmith.tables import size

FLASH, RAM, BOPS, CYCLES, LUTS = "flash", "ram", "bops", "cycles", "luts"
CODE = "code"
"""Of flash, what is no constants: a cost that has no budget of its own."""

MEAN_WEIGHT_BITS, MEAN_ACTIVATION_BITS = "mean-weight-bits", "mean-activation-bits"

_PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_COUNT = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<prefix>[kMGT]?)")


def _bytes(text: str) -> float:
    return size(int(text) if text.isdecimal() else text)


def _count(text: str) -> float:
    match = _COUNT.fullmatch(text)
    number = float(match["number"]) * _PREFIXES[match["prefix"]] if match else 0
    if not 0 < number < math.inf:
        raise ValueError(f"must be a positive number such as 20M, not {text!r}")
    return number


def _mean(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 1 <= number <= 16:
        raise ValueError(f"must be a number of bits such as 3.5, not {text!r}")
    return number


BUDGETS: Mapping[str, Callable[[str], float]] = MappingProxyType(
    {
        FLASH: _bytes,
        RAM: _bytes,
        BOPS: _count,
        CYCLES: _count,
        LUTS: _count,
        MEAN_WEIGHT_BITS: _mean,
        MEAN_ACTIVATION_BITS: _mean,
    }
)
"""What can be budgeted, and how each is read."""

RESERVE: Mapping[str, float] = MappingProxyType({LUTS: 0.1, CODE: 0.05})
"""Of a cost, what is kept back where it is estimated with weights that are rounded to nearest, if the budget leaves
room for it. Learned ones were seen to take 6 % more look-up tables; and where sums come to need more bits, or fewer,
requantize steps are other code."""

MEANING: Mapping[str, str] = MappingProxyType(
    {
        FLASH: "bytes of all constants, weights packed, and of code",
        CODE: "bytes of code, foretold by the target's file, in the flash above",
        RAM: "bytes of the activations that are alive together, at the fullest step",
        BOPS: "bit operations a sample: multiply-accumulates x weight bits x activation bits",
        CYCLES: "cycles a sample of all multiply-accumulates, by the target's table",
        LUTS: "look-up tables of the circuit, as the backend estimates them",
        MEAN_WEIGHT_BITS: "bits of a weight on average",
        MEAN_ACTIVATION_BITS: "bits of an activation's element on average",
    }
)

CONSTANTS_ALONE = "constants alone; the target file does not say what code takes"
"""Of flash, where that is so: what is linked takes more, and a budget that is kept is none that fits."""


def made_of(costs: Mapping[str, float], told: object = None) -> str:
    """Of what costs say flash consists.

    told: of code by the target's file, as manifests hold it: a figure in it is in the flash of older ones, too, whose
          costs do not name it.
    """
    code = costs.get(CODE, told if isinstance(told, int) else 0)
    if CODE not in costs and not code:
        return CONSTANTS_ALONE
    return f"{shown(CODE, costs[FLASH] - code)} of constants and {shown(CODE, code)} of code"


def budget(given: str) -> tuple[str, float]:
    """Read `flash=64KiB`; ValueError that says what is wrong with it."""
    name, separator, text = given.partition("=")
    if not separator:
        raise ValueError(f"{given!r} is not of the form NAME=LIMIT, such as flash=64KiB")
    return name, limit(name, text.strip())


def limit(name: str, given: object) -> float:
    """Read the limit of a budget: a number, or a text with a unit; ValueError that says what is wrong with it."""
    if name not in BUDGETS:
        raise ValueError(f"there is no budget {name}. {suggest(name, BUDGETS)}")
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        raise ValueError(f"{name} must be a number or a text such as 64KiB")
    try:
        return BUDGETS[name](str(given))
    except ValueError as reason:
        raise ValueError(f"{name} {reason}") from None


def shown(name: str, value: float) -> str:
    """A cost as people read it, unit included."""
    if name in (FLASH, RAM, CODE):
        return f"{round(value):,} bytes"
    if name == LUTS:
        return f"{round(value):,} LUTs"
    if name in (MEAN_WEIGHT_BITS, MEAN_ACTIVATION_BITS):
        return f"{value:.2f} bits"
    if name in (BOPS, CYCLES):
        return _with_prefix(value)
    # A loss, in nats.
    return f"{value:.4g}"


def enough(name: str, value: float) -> str:
    """A budget that this cost keeps: as it is shown, but rounded up."""
    if name in (FLASH, RAM, LUTS):
        step = 1.0
    elif name in (MEAN_WEIGHT_BITS, MEAN_ACTIVATION_BITS):
        step = 0.01
    else:
        step = 10.0 ** (math.floor(math.log10(max(value, 1))) - 3)
    # Less than a millionth of a step is the rounding of float64.
    return shown(name, step * math.ceil(value / step - 1e-6))


def _with_prefix(value: float) -> str:
    for prefix, unit in reversed(_PREFIXES.items()):
        if value >= unit:
            return f"{value / unit:.4g}{' ' if prefix else ''}{prefix}"
    return f"{value:.4g}"
