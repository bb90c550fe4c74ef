"""C identifiers: each generated function and array has one of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

HELPERS = re.compile(r"^\s*(?:static|KERNEL)\b[^;={}]*?\b(\w+)\(", re.MULTILINE)
"""A function that a template defines under a name of its own."""


@cache
def taken() -> frozenset[str]:
    """Names with an underscore that no generated function may have: those of the model's interface and of helpers."""
    folder = files("bitsmith.templates") / "c"
    found = {"model_run", "model_run_in", "model_run_rows", "model_rows", "rows_of_whole", "model_trace", "size_t"}
    found.update(f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64))
    for place in (folder, *(folder / name for name in ("avx2", "dsp", "mve"))):
        for entry in place.iterdir():
            if entry.name.endswith(".c.j2"):
                found.update(HELPERS.findall(entry.read_text(encoding="utf-8")))
    return frozenset(found)


def identifiers(names: Iterable[str], used: Iterable[str] = ()) -> dict[str, str]:
    """C identifiers of the given names, each its own and none of `used`.

    Each has an underscore, and not at its end: so none is a keyword, a parameter or a function that C compilers know.
    """
    chosen: dict[str, str] = {}
    reserved = {*taken(), *used}
    for name in names:
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()[:48].rstrip("_") or "operation"
        plain = f"op_{plain}" if plain[0].isdigit() or "_" not in plain else plain
        count, candidate = 1, plain
        while candidate in reserved or any(_is_part(candidate, one) or _is_part(one, candidate) for one in reserved):
            count += 1
            candidate = f"{plain}_{count}"
        chosen[name] = candidate
        reserved.add(candidate)
    return chosen


def _is_part(name: str, whole: str) -> bool:
    """Whether a name is what a part of a function might be called: `conv_1_pair` of `conv_1`."""
    return name.startswith(f"{whole}_") and name[len(whole) + 1 :].isalpha()
