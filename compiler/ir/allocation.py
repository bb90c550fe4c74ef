"""An allocation: how many bits each weight and each activation gets, where they do not all get the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeGuard

from bitsmith.errors import PipelineError
from bitsmith.ir.grids import TERNARY_BITS

ACTIVATION_WIDTHS: tuple[float, ...] = tuple(range(2, 17))
WEIGHT_WIDTHS: tuple[float, ...] = (TERNARY_BITS, *ACTIVATION_WIDTHS)
"""In bits. 1.6 stands for ternary weights, which take as much; all others are integers of so many."""


@dataclass(frozen=True)
class Allocation:
    """Bits by value name. Immutable; what it does not name keeps the bits of the pass that quantizes it.

    weights:     of the constants that multiply activations (see ir/linear.py).
    activations: of values that exist as integer tensors; all members of a format group alike (see ir/sharing.py).
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    activations: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("weights", "activations"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def to_json(self) -> dict[str, dict[str, float]]:
        """As `from_json` reads it."""
        return {"weights": dict(self.weights), "activations": dict(self.activations)}

    @classmethod
    def from_json(cls, value: Any, where: str = "allocation") -> Allocation:
        """Read `{"weights": {NAME: BITS}, "activations": {NAME: BITS}}`; either may be left out.

        Raises PipelineError, located at `where`, for anything else.
        """
        if not isinstance(value, dict) or not value or not value.keys() <= {"weights", "activations"}:
            raise PipelineError(
                "is no allocation of bits",
                where=where,
                fix='Write {"weights": {NAME: BITS, ...}, "activations": {NAME: BITS, ...}}.',
            )
        whole = _bits(value.get("activations", {}), ACTIVATION_WIDTHS, f"{where}, activations")
        return cls(
            _bits(value.get("weights", {}), WEIGHT_WIDTHS, f"{where}, weights"),
            {name: int(bits) for name, bits in whole.items()},
        )


def is_width(value: object, legal: Sequence[float]) -> TypeGuard[float]:
    """Whether a value from a file is one of these widths; 2.0 and true are none."""
    return value in legal and type(value) is (float if value == TERNARY_BITS else int)


def _bits(table: Any, legal: Sequence[float], where: str) -> dict[str, float]:
    if not isinstance(table, dict):
        raise PipelineError("is no table of bits by name", where=where, fix="Write {NAME: BITS, ...}.")
    for name, bits in table.items():
        if not is_width(bits, legal):
            ternary = f", or {TERNARY_BITS} for ternary weights" if TERNARY_BITS in legal else ""
            whole = ACTIVATION_WIDTHS
            raise PipelineError(
                f"{name} cannot have {bits!r} bits", where=where, fix=f"Give {whole[0]} to {whole[-1]}{ternary}."
            )
    return dict(table)
