"""TOML files held to a list of keys, each with a reader that says what its value must be."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from bitsmith.bounded import read_text
from bitsmith.errors import BitsmithError
from bitsmith.registry import suggest

Reader = Callable[[Any], Any]
"""Turns a TOML value into what it stands for, or raises ValueError that says what it must be."""

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = re.compile(r"(?P<number>\d{1,20})\s*(?P<unit>[A-Za-z]+)")

LARGEST = 2**63
"""Bytes that no memory has."""


def read_table(
    path: str | os.PathLike[str], readers: Mapping[str, Reader], error: type[BitsmithError]
) -> dict[str, Any]:
    """The keys of the TOML file at `path`, read; those that are absent stay absent.

    Raises `error`, naming file and key, for what cannot be read, is no TOML, is unknown or does not fit.
    """
    file = str(path)
    try:
        table = tomllib.loads(read_text(path))
    except OSError as reason:
        raise error(
            f"cannot be read: {reason.strerror}", where=file, fix="Check the path and its permissions."
        ) from reason
    except ValueError as reason:  # Of TOML, of UTF-8, or of an integer with more digits than Python reads.
        raise error(f"is no TOML: {reason}", where=file) from reason
    except RecursionError as reason:
        raise error("is nested too deep", where=file) from reason
    return {key: _read(file, key, value, readers, error) for key, value in table.items()}


def _read(file: str, key: str, value: object, readers: Mapping[str, Reader], error: type[BitsmithError]) -> Any:
    if key not in readers:
        raise error("there is no such key", where=f"{file}, {key}", fix=suggest(key, readers))
    try:
        return readers[key](value)
    except ValueError as reason:
        raise error(str(reason), where=f"{file}, {key}") from reason


def text(value: object) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError(f"must be a text in quotes, not {shown(value)}")
    return value


def boolean(value: object) -> bool:
    """A truth value."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {shown(value)}")
    return value


def integer(lowest: int, highest: int | None = None) -> Reader:
    """A reader of one integer from `lowest` to `highest`, both included."""
    limits = f"from {lowest} to {highest}" if highest is not None else f"of at least {lowest}"

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be an integer {limits}, not {shown(value)}")
        if value < lowest or (highest is not None and value > highest):
            raise ValueError(f"must be an integer {limits}, not {value}")
        return value

    return read


def one_of(*known: str) -> Reader:
    """A reader of one text out of `known`."""

    def read(value: object) -> str:
        if value not in known:
            raise ValueError(f"{shown(value)} is not known. {suggest(str(value), known)}")
        return str(value)

    return read


def several(reader: Reader, least: int = 1) -> Reader:
    """A reader of a list of at least `least` distinct values, each read by `reader`, as a tuple."""

    def read(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"must be a list in [brackets], not {shown(value)}")
        found = tuple(reader(item) for item in value)
        if len(found) < least:
            raise ValueError("must name at least one")
        if len(set(found)) != len(found):
            raise ValueError(f"names one of {shown(value)} twice")
        return found

    return read


def size(value: object) -> int:
    """A count of bytes: a positive integer, or a text such as "64KiB"."""
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None and match["unit"] not in _UNITS:
        raise ValueError(f"{shown(value)} has no known unit. {suggest(match['unit'], _UNITS)}")
    count = int(match["number"]) * _UNITS[match["unit"]] if match else value
    if isinstance(count, bool) or not isinstance(count, int) or not 0 < count < LARGEST:
        raise ValueError(f'must be a positive number of bytes or a text such as "64KiB", not {shown(value)}')
    return count


def shown(value: object) -> str:
    """A TOML value as an error quotes it, cut where it is long."""
    plain = str(value).lower() if isinstance(value, bool) else repr(value)
    return plain if len(plain) <= 60 else plain[:57] + "..."
