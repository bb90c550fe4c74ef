"""What code takes on a target: samples built with its compiler, and prices that explain the sizes of all functions.

Prices are fitted by quantile regression (Koenker and Bassett 1978, Regression Quantiles, Econometrica 46): a linear
program in prices that are 0 or more, in which a byte too few weighs more than a byte too many.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bitsmith.backends.c.code import MAIN, counted
from bitsmith.backends.c.emit import shared_names, sources
from bitsmith.backends.c.functions import NAME
from bitsmith.backends.c.machines.build import compiled
from bitsmith.backends.c.machines.samples import networks, widths_of
from bitsmith.backends.c.program import Program, build
from bitsmith.backends.c.wording import Counts
from bitsmith.errors import InternalError
from bitsmith.progress import Progress
from bitsmith.target import Target

QUANTILE = 0.5
"""Of all functions, how many are to take no more than they are said to."""

MARGIN = 0.11
"""Added to every price: no model of tests/benchmarks/code.md then takes more than is said."""

SMALL = 40
"""Bytes; a function's error weighs by the root of its size, and by that of this size if it is smaller."""

DIGITS = 3
"""Of a price."""

TOOLS = ("gcc", "size", "nm")

_DEFINED = re.compile(r"^(?:static|KERNEL|__attribute__|void)\b[^;=]*?\b(\w+)\([^;]*?\)\s*\{", re.M)
_CONSTANT = re.compile(r"^static const struct \w+ (\w+) = ", re.M)


@dataclass(frozen=True)
class Sized:
    """A part of a program as it was built: of which kind, what it holds, and bytes. widths: of the program's values."""

    kind: str
    counts: Counts
    bytes: int
    widths: str = ""


def measure(target: Target, progress: Progress) -> dict[str, float] | None:
    """Prices of a target's code, by name: see code.py. None where its toolchain is not installed, or is the host's."""
    if not target.toolchain or any(shutil.which(f"{target.toolchain}{tool}") is None for tool in TOOLS):
        return None
    graphs = list(networks(target))
    found: list[Sized] = []
    for done, graph in enumerate(graphs):
        progress(f"build samples for {target.name}", done, len(graphs))
        found += [replace(one, widths=widths_of(graph)) for one in sized(build(graph, target))]
    progress(f"build samples for {target.name}", len(graphs), len(graphs))
    return fitted(found)


def sized(program: Program) -> list[Sized]:
    """Every part of a program with the bytes that the target's compiler makes of it."""
    with tempfile.TemporaryDirectory(prefix="bitsmith-code-") as name:
        sizes, symbols = compiled(program.target, sources(program), Path(name))
    names = shared_names(program)
    parts = list(counted(program))
    found = []
    for part, counts in parts:
        if part.kind != MAIN:
            text = part.text.replace(NAME, names[part.text]) if NAME in part.text else part.text
            found.append(
                Sized(part.kind, counts, sum(_taken(symbols, {*_DEFINED.findall(text), *_CONSTANT.findall(text)})))
            )
    # What is no function's is what alignment takes.
    rest = sizes.flash - program.flash - sum(one.bytes for one in found)
    found += [Sized(part.kind, counts, rest) for part, counts in parts if part.kind == MAIN]
    return found


def _taken(symbols: dict[str, int], defined: set[str]) -> Iterator[int]:
    """The bytes of symbols that are of these names, parts that compilers split off among them; each once."""
    for symbol in list(symbols):
        if symbol.partition(".")[0] in defined:
            yield symbols.pop(symbol)


def fitted(found: Sequence[Sized]) -> dict[str, float]:
    """The prices that explain these best, none of them 0.

    No kind of function takes more than is said, in all and at any widths. Parts that are alike count once.
    """
    from scipy.optimize import linprog

    alike = {(one.kind, one.widths, tuple(sorted(one.counts.items())), one.bytes): one for one in found if one.counts}
    parts = list(alike.values())
    names = sorted({name for one in parts for name in one.counts})
    held = np.array([[one.counts.get(name, 0) for name in names] for one in parts], np.float64)
    sizes = np.array([one.bytes for one in parts], np.float64)
    weights = 1 / np.sqrt(np.maximum(sizes, SMALL))
    kinds = sorted({(one.kind, one.widths) for one in parts})
    of_kind = np.array([[(one.kind, one.widths) == kind for one in parts] for kind in kinds], np.float64)
    # sizes = held @ prices + under - over
    count, one_each = len(parts), np.eye(len(parts))
    answer = linprog(
        np.concatenate([np.full(len(names), 1e-3), weights * QUANTILE, weights * (1 - QUANTILE)]),
        A_eq=np.hstack([held, one_each, -one_each]),
        b_eq=sizes,
        A_ub=np.hstack([-of_kind @ held, np.zeros((len(kinds), 2 * count))]),
        b_ub=-of_kind @ sizes,
        method="highs",
    )
    if answer.x is None:
        raise InternalError(f"no prices explain what was measured: {answer.message}")
    return dict(_rounded(dict(zip(names, answer.x.tolist(), strict=False))))


def _rounded(prices: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """With the margin, to DIGITS digits; those that come to nothing left out."""
    for name, price in prices.items():
        shown = float(f"{price * (1 + MARGIN):.{DIGITS}g}")
        if shown >= 0.01:
            yield name, shown
