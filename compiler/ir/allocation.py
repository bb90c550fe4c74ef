"""An allocation: how many bits each weight and each activation gets, where they do not all get the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from bitsmith.errors import PipelineError

WIDTHS = range(2, 17)


@dataclass(frozen=True)
class Allocation:
    """Bits by value name. Immutable; what it does not name keeps the bits of the pass that quantizes it.

    weights:     of the constants that multiply activations (see ir/linear.py).
    activations: of values that exist as integer tensors; all members of a format group alike (see ir/sharing.py).
    """

    weights: Mapping[str, int] = field(default_factory=dict)
    activations: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("weights", "activations"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def to_json(self) -> dict[str, dict[str, int]]:
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
        return cls(*(_bits(value.get(key, {}), f"{where}, {key}") for key in ("weights", "activations")))


def _bits(table: Any, where: str) -> dict[str, int]:
    if not isinstance(table, dict):
        raise PipelineError("is no table of bits by name", where=where, fix="Write {NAME: BITS, ...}.")
    for name, bits in table.items():
        if type(bits) is not int or bits not in WIDTHS:
            raise PipelineError(
                f"{name} cannot have {bits!r} bits", where=where, fix=f"Give {WIDTHS[0]} to {WIDTHS[-1]}."
            )
    return dict(table)
