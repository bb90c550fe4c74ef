"""A point of a search: an allocation of bits, and once it has been compiled and evaluated, what that showed."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from bitsmith.ir.allocation import Allocation

UNIFORM, PROGRAM, SWAP = "uniform", "program", "swap"
"""Where an allocation comes from: one width everywhere; the integer program under a budget; a swap of two widths."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
"""Of a folder right in another: what a search gives has nothing else in it, and no path could lead out by it."""

LARGEST = 1e100
"""Beyond anything that is measured."""


@dataclass(frozen=True)
class Candidate:
    """An allocation that is worth measuring.

    name:   of its folder. origin: UNIFORM, PROGRAM or SWAP.
    bits:   the one width of a UNIFORM one that all have, inputs and outputs apart; else None.
    """

    name: str
    origin: str
    allocation: Allocation
    bits: float | None = None

    @property
    def key(self) -> str:
        """The same for the same allocation, wherever it comes from."""
        return key_of(self.allocation)

    @property
    def said(self) -> str:
        """The one width that all have, or those that there are, for people to read."""
        if self.bits is not None:
            return f"{self.bits:g} bits everywhere"
        have = (("weights", self.allocation.weights), ("activations", self.allocation.activations))
        each = [f"{what} of {_and(set(bits.values()))} bits" for what, bits in have if bits]
        return ", ".join([self.name, *each])

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return {
            "name": self.name,
            "origin": self.origin,
            "bits": self.bits,
            "allocation": self.allocation.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Candidate:
        """The candidate that `to_json` wrote; ValueError, or what comes of parts that lack, for anything else."""
        name, origin, bits = value["name"], value["origin"], value["bits"]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a folder")
        if origin not in (UNIFORM, PROGRAM, SWAP):
            raise ValueError(f"{origin!r} is no origin")
        allocation = Allocation.from_json(value["allocation"])
        return cls(name, origin, allocation, None if bits is None else _number(bits))


@dataclass(frozen=True)
class Point:
    """A candidate that was compiled and evaluated.

    costs:     by name, what it costs: see compiler/allocation/budgets.py. Lower is better.
    accuracy:  what points are compared by, higher is better: the metric of the search, on the data to choose on.
    reported:  the metric on the evaluation data; the same as accuracy, unless there are other data to choose on.
    decibels:  signal-to-noise ratio of its outputs against the float model's, on the evaluation data; may be infinite.
    seconds:   that compiling and evaluating took.
    drift:     by which its outputs are off on each of the calibration samples, in nats (see execution/drift.py); empty
               without such data. It is known without any label, and before the evaluation data are looked at.
    outcomes:  for each evaluation sample whether its class was right, where the metric is top1; else empty.
    """

    candidate: Candidate
    costs: Mapping[str, float]
    accuracy: float
    reported: float
    decibels: float
    seconds: float
    drift: tuple[float, ...] = field(default=(), repr=False)
    outcomes: tuple[bool, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "costs", MappingProxyType(dict(self.costs)))

    @property
    def name(self) -> str:
        return self.candidate.name

    @property
    def samples(self) -> tuple[int, int]:
        """How many it was measured on: of the evaluation data and of the calibration data, where that is kept."""
        return len(self.outcomes), len(self.drift)

    @property
    def nats(self) -> float | None:
        """The mean of its drift; None where that is not known."""
        return sum(self.drift) / len(self.drift) if self.drift else None

    def by_nearness(self) -> Point:
        """The point with how near it is to the float network for its accuracy; itself where that is not known."""
        return self if self.nats is None else replace(self, accuracy=-self.nats)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it; an infinite ratio is null, outcomes are hexadecimal digits of packed bits."""
        return {
            **self.candidate.to_json(),
            "costs": dict(self.costs),
            "accuracy": self.accuracy,
            "reported": self.reported,
            "decibels": self.decibels if math.isfinite(self.decibels) else None,
            "seconds": round(self.seconds, 3),
            "drift": self.drift,
            "samples": len(self.outcomes),
            "outcomes": _packed(self.outcomes),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Point:
        """The point that `to_json` wrote; ValueError, or what comes of parts that lack, for anything else."""
        return cls(
            Candidate.from_json(value),
            {name: _number(cost, least=0) for name, cost in value["costs"].items()},
            _number(value["accuracy"]),
            _number(value["reported"]),
            math.inf if value["decibels"] is None else _number(value["decibels"]),
            _number(value["seconds"], least=0),
            tuple(map(_number, value["drift"])),
            _unpacked(value["outcomes"], value["samples"]),
        )


def _and(widths: Set[float]) -> str:
    return " and ".join(f"{bits:g}" for bits in sorted(widths))


def _number(value: object, least: float = -LARGEST) -> float:
    """A number as it stands in a file of ours: as large as measurements are, whose squares are numbers too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= LARGEST:
        raise ValueError("is no number that could be measured")
    return value


def key_of(allocation: Allocation) -> str:
    """A digest of an allocation: the same for the same bits, in whatever order they are named."""
    text = json.dumps(allocation.to_json(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _packed(outcomes: tuple[bool, ...]) -> str:
    """Outcomes as hexadecimal digits, four a digit, the first in the highest bit; zeros fill the last digit."""
    if not outcomes:
        return ""
    digits = -(-len(outcomes) // 4)
    text = "".join("01"[right] for right in outcomes).ljust(4 * digits, "0")
    return f"{int(text, 2):0{digits}x}"


def _unpacked(packed: str, samples: int) -> tuple[bool, ...]:
    if type(samples) is not int or not re.fullmatch(rf"[0-9a-f]{{{-(-samples // 4)}}}", packed):
        raise ValueError("are not the outcomes of so many samples")
    if not samples:
        return ()
    text = f"{int(packed, 16):0{4 * len(packed)}b}"
    return tuple(digit == "1" for digit in text[:samples])
