"""What cannot be done in several places is told of all of them, not of the first alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bitsmith.errors import UnsupportedError, ended


class Faults:
    """What was found to be unsupported so far. found: in the order it was found."""

    def __init__(self) -> None:
        self.found: list[UnsupportedError] = []

    def add(self, fault: UnsupportedError) -> None:
        """Take note of a fault; what is looked at next must do without what is at fault."""
        self.found.append(fault)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold back an UnsupportedError from within, and go on behind it."""
        try:
            yield
        except UnsupportedError as fault:
            self.found += fault.each

    def require_none(self) -> None:
        """Raise UnsupportedError for the first, with how many more there are; `each` of it holds them all."""
        if not self.found:
            return
        first, more = self.found[0], len(self.found) - 1
        fix = ended(first.fix) if first.fix else ""
        if more:
            fix += f" {more} more: `bitsmith check` lists all."
        told = UnsupportedError(first.what, where=first.where, fix=fix.strip())
        told.each = tuple(self.found)
        raise told
