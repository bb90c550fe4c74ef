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


def suggest(name: str, known: Iterable[str]) -> str:
    """`Did you mean x?` where something known is close, else what is known, or the first of it; empty if nothing is."""
    choices = sorted(known)
    close = difflib.get_close_matches(name, choices, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    more = f" and {len(choices) - LISTED} more" if len(choices) > LISTED else ""
    return f"Known: {', '.join(choices[:LISTED])}{more}." if choices else ""
