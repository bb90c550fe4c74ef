"""Passes and backends by name, ours and those of any installed package, through entry points."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from bitsmith.errors import BitsmithError, PipelineError, TargetError

PASSES = "bitsmith.passes"
BACKENDS = "bitsmith.backends"
_ERRORS: dict[str, type[BitsmithError]] = {PASSES: PipelineError, BACKENDS: TargetError}


def names(group: str) -> list[str]:
    """What is installed in an entry point group, sorted."""
    return sorted(_points(group))


def find(group: str, name: str) -> Any:
    """The object that an entry point names; an unknown name is an error that suggests the nearest."""
    found = _points(group)
    singular = group.rsplit(".", 1)[-1].removesuffix("s" if group == BACKENDS else "es")
    if name not in found:
        raise _ERRORS[group](
            f"there is no {singular} called {name}",
            fix=suggest(name, found) or f"No {singular} is installed.",
        )
    return _load(found[name], group)


@cache
def _points(group: str) -> dict[str, EntryPoint]:
    # Reading what is installed takes milliseconds, and a pipeline asks once a pass.
    return {point.name: point for point in entry_points(group=group)}


def _load(point: EntryPoint, group: str) -> Any:
    try:
        return point.load()
    except Exception as fault:
        distribution = point.dist.name if point.dist is not None else "an installed package"
        raise _ERRORS[group](
            f"{point.value} cannot be imported ({type(fault).__name__}: {fault})",
            where=f"entry point {point.name} of {distribution}",
            fix="Repair or uninstall that package.",
        ) from fault


LISTED = 40
"""Names that an error lists at most: a large model has hundreds of layers."""


CLOSE = 0.6
"""How much of two names must agree for one to be taken for the other; difflib's own."""


def suggest(name: str, known: Iterable[str]) -> str:
    """`Did you mean x?` where something known is close, else what is known, or the first of it; empty if nothing is."""
    choices = sorted(known)
    if meant := did_you_mean(name, choices):
        return meant
    more = f" and {len(choices) - LISTED} more" if len(choices) > LISTED else ""
    return f"Known: {', '.join(choices[:LISTED])}{more}." if choices else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`Did you mean x?` where something known is close, if need be but for upper and lower case; else empty.

    A name that is short for another, as `fold-bn` is for `fold-batch-norm`, comes before one that merely looks like it.
    """
    choices = sorted(known)
    for read in (str, str.casefold):
        typed = read(name)
        alike = {one: difflib.SequenceMatcher(None, read(one), typed).ratio() for one in choices}
        close = [one for one, share in alike.items() if share >= CLOSE]
        if close:
            return f"Did you mean {max(close, key=lambda one: (_is_short_for(name, one), alike[one]))}?"
    return ""


def _is_short_for(short: str, long: str) -> bool:
    """Whether the letters of one are in the other, in order, from the same first one on."""
    letters = iter(long)
    return short[:1] == long[:1] and all(letter in letters for letter in short)
