"""What may stand in a recipe: the names it knows, and how the values of its file are read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType

from bitsmith.allocation.budgets import limit
from bitsmith.allocation.files import read_allocation, read_sensitivity
from bitsmith.observers import AUTO, OBSERVERS
from bitsmith.pipelines import EFFORTS
from bitsmith.registry import did_you_mean
from bitsmith.tables import Reader, boolean, integer, one_of, several, shown, text

WEIGHTS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "ternary": (2, "ternary"),
        "codebook16": (4, "codebook"),
        "codebook4": (2, "codebook"),
        "powers": (4, "powers"),
        "power-sums": (8, "power-sums"),
        "e4m3": (8, "e4m3"),
        "e5m2": (8, "e5m2"),
        "e3m2": (6, "e3m2"),
        "e2m3": (6, "e2m3"),
        "e2m1": (4, "e2m1"),
    }
)
"""Names that `weights` may have in place of a width: bits, and the format of quantize-weights."""

MIXED = "mixed"
"""In place of bits: they are chosen one by one."""

LIKE_INTEGERS = ("int", "power-sums")
"""Formats that lose as little to rounding as integers of as many bits; others need learned rounding at any width."""

SCALES = ("free", "power-of-two")


def weights_given(value: object) -> int | str:
    """Bits of weights, the name of a format, or mixed; ValueError for anything else."""
    if isinstance(value, str) and value not in (*WEIGHTS, MIXED):
        meant = did_you_mean(value, (*WEIGHTS, MIXED))
        known = f"{shown(value)} is neither a width in bits nor one of {', '.join(WEIGHTS)}, {MIXED}"
        raise ValueError(f"{known}. {meant}" if meant else known)
    return value if isinstance(value, str) else integer(2, 16)(value)


def activations_given(value: object) -> int | str:
    """Bits of activations, or mixed; ValueError for anything else."""
    return MIXED if value == MIXED else integer(2, 16)(value)


def granularity_given(value: object) -> str:
    """channel, tensor or group=N; ValueError for anything else."""
    given = text(value)
    kind, _, size = given.partition("=")
    if given not in ("channel", "tensor") and not (kind == "group" and size.isdecimal() and int(size) > 0):
        meant = did_you_mean(kind, ("channel", "tensor", "group"))
        known = f"{shown(given)} is not channel, tensor, or group=N such as group=32"
        raise ValueError(f"{known}. {meant}" if meant and not size else known)
    return given


def points(value: object) -> float:
    """A share of samples in percent; ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 100:
        raise ValueError(f"must be a number of points from 0 to 100, such as 1.0, not {shown(value)}")
    return float(value)


def _budgets(value: object) -> dict[str, float]:
    if not isinstance(value, dict):
        raise ValueError(f'must be a table such as {{flash = "64KiB"}}, not {shown(value)}')
    return {name: limit(name, given) for name, given in value.items()}


def _pipeline(value: object) -> str:
    """A pipeline as one text, or as a list of one text a pass."""
    if isinstance(value, list):
        return ",".join(text(one) for one in value)
    return text(value)


def _shapes(value: object) -> dict[str, tuple[int, ...]]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a table such as {{x = [1, 3, 32, 32]}}, not {shown(value)}")
    dimension = integer(1)
    for name, shape in value.items():
        if not isinstance(shape, list):
            raise ValueError(f"the shape of {name} must be a list of integers, not {shown(shape)}")
    return {name: tuple(dimension(size) for size in shape) for name, shape in value.items()}


def _ranges(value: object) -> dict[str, tuple[float, float]]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a table such as {{x = [0, 255]}}, not {shown(value)}")
    for name, ends in value.items():
        numbers = isinstance(ends, list) and len(ends) == 2 and all(type(end) in (int, float) for end in ends)
        if not numbers or not -sys.float_info.max <= ends[0] < ends[1] <= sys.float_info.max:
            raise ValueError(f"the range of {name} must be two numbers, the lower one first, not {shown(ends)}")
    return {name: (float(ends[0]), float(ends[1])) for name, ends in value.items()}


READERS: dict[str, Reader] = {
    "pipeline": _pipeline,
    "effort": one_of(*EFFORTS),
    "weights": weights_given,
    "activations": activations_given,
    "edges": integer(2, 16),
    "granularity": granularity_given,
    "scales": one_of(*SCALES),
    "symmetric_activations": boolean,
    "observer": one_of(AUTO, *OBSERVERS),
    "correct_biases": boolean,
    "budgets": _budgets,
    "max_loss": points,
    "allocation": lambda value: read_allocation(text(value)),
    "sensitivity": lambda value: read_sensitivity(text(value)),
    "data_free": boolean,
    "kernels": several(text),
    "seed": integer(0, 2**32 - 1),
    "input_ranges": _ranges,
    "input_shapes": _shapes,
}
"""Each key of a recipe's file, and how its value is read."""
