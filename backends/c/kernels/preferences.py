"""Which kernels a target asks for, beside what its features decide: its option `kernels`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bitsmith.target import Target

OPTION = "kernels"


@dataclass(frozen=True)
class Preferences:
    """Families that come first wherever they can serve, and the families that single operations must have.

    Written as `conv, dense=linear`: names of families, and operations with the family for each.
    """

    first: tuple[str, ...] = ()
    by_operation: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, target: Target) -> Preferences:
        """Those of a target; none where it has no such option."""
        items = [item.strip() for item in str(target.options.get(OPTION, "")).split(",") if item.strip()]
        pairs = [item.rpartition("=") for item in items]
        return cls(
            tuple(family for operation, _, family in pairs if not operation),
            tuple((operation.strip(), family.strip()) for operation, _, family in pairs if operation),
        )

    def families(self) -> Iterable[str]:
        """Every family that is named."""
        return (*self.first, *(family for _, family in self.by_operation))

    def demanded(self, operation: str) -> str | None:
        """The family that an operation must have, if it must have one."""
        return dict(self.by_operation).get(operation)
