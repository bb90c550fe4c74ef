"""The question that an allocation answers: a width for each group, at what loss, within which budgets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar

from bitsmith.ir.allocation import Allocation

LOSS = "loss"
"""Of the costs, the one that rounding does to the outputs: predicted, in nats a sample."""

SLACK = 1e-9
"""Relative, by which a cost that is no integer may exceed its limit: the rounding of float64 sums."""

Bits = Mapping[str, float]
"""Group name -> the width that it gets."""


@dataclass(frozen=True)
class Group:
    """What gets one width: a weight, or all activations that share a format.

    name:    of the weight or of the first activation. members: the names of all values in it.
    widths:  that it may have, ascending; one where it is settled.
    settled: whether its format was decided before, so that no allocation need name it.
    is_edge: whether it has the width of inputs and outputs, whatever the rest has.
    """

    name: str
    members: tuple[str, ...]
    is_weight: bool
    widths: tuple[float, ...]
    settled: bool = False
    is_edge: bool = False


Users = frozenset[tuple[str, float]]
"""Choices of a width for a group, any of which asks for the same thing."""


@dataclass(frozen=True)
class Row:
    """`constant + sum singles[g][bits of g] + sum pairs[g, h][bits of g, bits of h] + sum once`.

    once:  by its users, what is spent if any of these choices is made, however many are: code that layers share.
    where: at which place of the model this is spent; empty for all of it.
    """

    constant: float = 0
    singles: Mapping[str, Mapping[float, float]] = field(default_factory=dict)
    pairs: Mapping[tuple[str, str], Mapping[tuple[float, float], float]] = field(default_factory=dict)
    where: str = ""
    once: Mapping[Users, float] = field(default_factory=dict)

    def at(self, bits: Bits) -> float:
        """What it comes to with these widths; exact where all terms are integers."""
        single = sum(terms[bits[group]] for group, terms in self.singles.items())
        shared = sum(spent for users, spent in self.once.items() if any(bits[group] == one for group, one in users))
        both = sum(terms[bits[g], bits[h]] for (g, h), terms in self.pairs.items())
        return self.constant + single + shared + both

    def times(self, factor: float) -> Row:
        """So many times as much."""
        return replace(
            self,
            constant=self.constant * factor,
            singles={
                group: {bits: one * factor for bits, one in terms.items()} for group, terms in self.singles.items()
            },
            pairs={both: {bits: one * factor for bits, one in terms.items()} for both, terms in self.pairs.items()},
            once={users: spent * factor for users, spent in self.once.items()},
        )

    def plus(self, other: Row) -> Row:
        """Both together, where this one is spent."""
        return replace(
            self,
            constant=self.constant + other.constant,
            singles=_summed(self.singles, other.singles),
            pairs=_summed(self.pairs, other.pairs),
            once={key: self.once.get(key, 0) + other.once.get(key, 0) for key in (*self.once, *other.once)},
        )


Asking = TypeVar("Asking")
Choice = TypeVar("Choice")
Terms = Mapping[Asking, Mapping[Choice, float]]


def _summed(one: Terms[Asking, Choice], other: Terms[Asking, Choice]) -> Terms[Asking, Choice]:
    return {
        key: {
            bits: one.get(key, {}).get(bits, 0) + other.get(key, {}).get(bits, 0)
            for bits in (*one.get(key, {}), *other.get(key, {}))
        }
        for key in (*one, *other)
    }


@dataclass(frozen=True)
class Cost:
    """The largest of its rows: one row for what adds up, one per step of the schedule for what is reused."""

    rows: tuple[Row, ...]

    def at(self, bits: Bits) -> float:
        """What it comes to with these widths."""
        return max(row.at(bits) for row in self.rows)

    def peak(self, bits: Bits) -> Row:
        """The row that decides."""
        return max(self.rows, key=lambda row: row.at(bits))


@dataclass(frozen=True)
class Problem:
    """Minimise the cost `minimise` such that none of `limits` is exceeded and no vetoed pair of widths is chosen.

    costs:  by name, LOSS among them. limits: some of them, by the same names.
    vetoes: (g, h) -> pairs (bits of g, bits of h) that may not stand together.
    """

    groups: tuple[Group, ...]
    costs: Mapping[str, Cost]
    limits: Mapping[str, float]
    minimise: str = LOSS
    vetoes: Mapping[tuple[str, str], frozenset[tuple[float, float]]] = field(default_factory=dict)

    def costs_at(self, bits: Bits) -> dict[str, float]:
        """Every cost with these widths."""
        return {name: cost.at(bits) for name, cost in self.costs.items()}

    def allows(self, bits: Bits) -> bool:
        """Whether these widths keep to all limits and vetoes."""
        vetoed = any((bits[g], bits[h]) in pairs for (g, h), pairs in self.vetoes.items())
        return not vetoed and all(within(self.costs[name].at(bits), limit) for name, limit in self.limits.items())

    def allocation(self, bits: Bits) -> Allocation:
        """The widths by value name, of all groups whose formats are not settled yet."""
        chosen = [group for group in self.groups if not group.settled]
        return Allocation(
            {group.name: bits[group.name] for group in chosen if group.is_weight},
            {name: int(bits[group.name]) for group in chosen if not group.is_weight for name in group.members},
        )


@dataclass(frozen=True)
class Tried:
    """An allocation that was compiled to be compared.

    narrowest: of all its widths. predicted: its loss, in nats. nats: how far its integers were from the float network.
    """

    narrowest: float
    predicted: float
    nats: float


@dataclass(frozen=True)
class Solution:
    """Widths that solve a problem.

    costs:  every cost with these widths, the predicted loss among them.
    limits: those of the problem.
    status: `optimal`, or `time limit` where the best so far is given. gap: relative, between what was found and what
            is known to be impossible to beat.
    tried:  what it was compared with by compiling both, itself included; empty where it was taken as predicted.
    """

    bits: Bits
    allocation: Allocation
    costs: Mapping[str, float]
    limits: Mapping[str, float]
    minimise: str
    status: str
    gap: float
    tried: tuple[Tried, ...] = ()

    def __post_init__(self) -> None:
        for name in ("bits", "costs", "limits"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def loss(self) -> float:
        """Predicted, in nats a sample."""
        return self.costs[LOSS]

    def to_json(self) -> dict[str, Any]:
        """All but the allocation, which has a place of its own."""
        return {
            "minimised": self.minimise,
            "limits": dict(self.limits),
            "predicted": dict(self.costs),
            "status": self.status,
            "gap": self.gap,
            "tried": [asdict(one) for one in self.tried],
        }


def within(cost: float, limit: float) -> bool:
    """Whether a cost keeps to a limit, float64 rounding apart."""
    return cost <= limit or math.isclose(cost, limit, rel_tol=SLACK)
