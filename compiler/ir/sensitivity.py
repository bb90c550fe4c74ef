"""Sensitivity: how far a model's outputs are expected to move when one part of it gets few bits."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from bitsmith.errors import PipelineError
from bitsmith.ir.allocation import WEIGHT_WIDTHS, Allocation, is_width

Losses = Mapping[float, float]
"""Bits -> predicted loss; never rising with bits."""

Pair = tuple[str, float, str, float]
"""A value and its bits, and another value and its bits."""

_WIDTHS = {str(bits): bits for bits in WEIGHT_WIDTHS}


@dataclass(frozen=True)
class Sensitivity:
    """Predicted losses by value name and bits, in nats of Kullback-Leibler divergence a sample. Immutable.

    For outputs that are no classes it is half their squared error as a part of their variance, which is the divergence
    of two normal distributions of that variance.

    method:       the predictor that gave them.
    weights:      of each constant that multiplies activations, where it alone has so many bits.
    activations:  of each format group (see ir/sharing.py), by its first value's name.
    interactions: what two of them lose together beyond the sum of both; a pair that is not there loses nothing more.

    Raises PipelineError for a loss that is negative or not finite, or that rises with bits.
    """

    method: str
    weights: Mapping[str, Losses] = field(default_factory=dict)
    activations: Mapping[str, Losses] = field(default_factory=dict)
    interactions: Mapping[Pair, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("weights", "activations"):
            tables: Mapping[str, Losses] = getattr(self, name)
            for value, losses in tables.items():
                _require_falling(losses, f"sensitivity, {name}, {value}")
            frozen = {value: MappingProxyType(dict(sorted(losses.items()))) for value, losses in tables.items()}
            object.__setattr__(self, name, MappingProxyType(frozen))
        object.__setattr__(self, "interactions", MappingProxyType(dict(self.interactions)))

    def predicted(self, allocation: Allocation) -> float:
        """The sum of the losses that an allocation's bits are expected to cost; at least 0.

        Of activations, names that are not here are members of a group that is named by another, and count once. Bits
        above all that were measured lose nothing. Raises PipelineError for a weight that is not here, for an
        allocation without any of the activations that are, and for other bits.
        """
        for table, bits_of in ((self.weights, allocation.weights), (self.activations, allocation.activations)):
            strange = bits_of.keys() - table.keys()
            if strange and (table is self.weights or len(strange) == len(bits_of)):
                raise PipelineError(
                    f"nothing is known of {min(strange)}", where="sensitivity", fix="Measure it on this very model."
                )
        total = sum(_loss(self.weights, name, bits) for name, bits in allocation.weights.items())
        known = {name: bits for name, bits in allocation.activations.items() if name in self.activations}
        total += sum(_loss(self.activations, name, bits) for name, bits in known.items())
        chosen = {**allocation.weights, **allocation.activations}
        for (first, bits, second, other), extra in self.interactions.items():
            if chosen.get(first) == bits and chosen.get(second) == other:
                total += extra
        return max(total, 0.0)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        found: dict[str, Any] = {
            "method": self.method,
            "weights": _tables_to_json(self.weights),
            "activations": _tables_to_json(self.activations),
        }
        if self.interactions:
            found["interactions"] = [[*pair, extra] for pair, extra in self.interactions.items()]
        return found

    @classmethod
    def from_json(cls, value: Any, where: str = "sensitivity") -> Sensitivity:
        """Read what `to_json` writes. Raises PipelineError, located at `where`, for anything else."""
        keys = {"method", "weights", "activations", "interactions"}
        if not isinstance(value, dict) or not value.keys() <= keys or not isinstance(value.get("method"), str):
            raise _not_a_sensitivity("is none", where)
        return cls(
            value["method"],
            _tables(value.get("weights", {}), f"{where}, weights"),
            _tables(value.get("activations", {}), f"{where}, activations"),
            _interactions(value.get("interactions", []), where),
        )


def falling(losses: Losses) -> dict[float, float]:
    """Losses made never to rise with bits: where measuring says otherwise it is noise, and the larger one counts.

    Negative ones, which are noise around nothing, become 0.
    """
    found: dict[float, float] = {}
    worst = 0.0
    for bits in sorted(losses, reverse=True):
        worst = max(worst, losses[bits])
        found[bits] = worst
    return dict(sorted(found.items()))


def _loss(tables: Mapping[str, Losses], name: str, bits: float) -> float:
    losses = tables[name]
    if bits > max(losses):
        return 0.0
    if bits not in losses:
        raise PipelineError(
            f"there is no loss of {name} at {bits} bits", where="sensitivity", fix="Measure it with these bits too."
        )
    return losses[bits]


def _require_falling(losses: Losses, where: str) -> None:
    before = math.inf
    for bits, loss in sorted(losses.items()):
        if not 0 <= loss < math.inf:
            raise PipelineError(f"a loss of {loss} at {bits} bits", where=where, fix="Losses are finite and 0 or more.")
        if loss > before:
            raise PipelineError(f"the loss rises at {bits} bits", where=where, fix="More bits may not lose more.")
        before = loss
    if not losses:
        raise PipelineError("no losses", where=where, fix="Measure them, or leave the name out.")


def _tables_to_json(tables: Mapping[str, Losses]) -> dict[str, dict[str, float]]:
    return {name: {str(bits): loss for bits, loss in losses.items()} for name, losses in tables.items()}


def _tables(value: Any, where: str) -> dict[str, dict[float, float]]:
    if not isinstance(value, dict):
        raise _not_a_sensitivity("is no table by name", where)
    found: dict[str, dict[float, float]] = {}
    for name, losses in value.items():
        if not isinstance(losses, dict):
            raise _not_a_sensitivity(f"has no losses by bits for {name}", where)
        found[name] = {_width(bits, where): _number(loss, where) for bits, loss in losses.items()}
    return found


def _interactions(value: Any, where: str) -> dict[Pair, float]:
    if not isinstance(value, list):
        raise _not_a_sensitivity("has no list of interactions", where)
    found: dict[Pair, float] = {}
    for entry in value:
        if not isinstance(entry, list) or len(entry) != 5 or not all(isinstance(entry[i], str) for i in (0, 2)):
            raise _not_a_sensitivity(f"has an interaction {entry}", where)
        first, bits, second, other, extra = entry
        found[first, _width(bits, where), second, _width(other, where)] = _number(extra, where)
    return found


def _width(value: Any, where: str) -> float:
    """Bits as a number, or as the text that they are as a key."""
    bits = _WIDTHS.get(value) if isinstance(value, str) else value
    if not is_width(bits, WEIGHT_WIDTHS):
        raise _not_a_sensitivity(f"has {value!r} for bits", where)
    return bits


def _number(value: Any, where: str) -> float:
    # Compared, for an integer of JSON may be one that no float is as large as.
    if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
        raise _not_a_sensitivity(f"has {value!r} for a loss", where)
    return float(value)


def _not_a_sensitivity(what: str, where: str) -> PipelineError:
    return PipelineError(
        f"{what}: a sensitivity was expected",
        where=where,
        fix="Give what `measure-sensitivity` wrote: the manifest of a compile with it has one under `sensitivity`.",
    )
