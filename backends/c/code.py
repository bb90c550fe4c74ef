"""What the code of a program takes, before a compiler has seen it: a sum of prices, as a target's table has them.

A table has the bytes of everything that wording.py counts, of a function by the name of its template, and of what a
function of this template is longer by: `machines/prices.py` measures one. What kernels share is written once and
counts once.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from bitsmith.backend import Code
from bitsmith.backends.c.emit import calls
from bitsmith.backends.c.functions import NAME, function_text, shared_texts
from bitsmith.backends.c.kernels import Kernel
from bitsmith.backends.c.program import Program
from bitsmith.backends.c.stage import Step
from bitsmith.backends.c.stream import Stream
from bitsmith.backends.c.stream_text import statements
from bitsmith.backends.c.text import render, templates
from bitsmith.backends.c.wording import OPERATIONS, SINGLE, Counts, Wording, merged_names, prices_of

SUFFIX, APART = ".c.j2", ("machine/", "model_test", "harness", "comment")
"""Of templates: of what becomes C, and of what is no part of a program, or no code."""

_PIECE = re.compile(r'{%-? (?:import|from|include) "([^"]+)"')
_OWN = re.compile(r"\bKERNEL\b|\bnoinline\b|\bsignature\(|{{ name }}\(|^static (?!inline)[^;={]*\(", re.M)
"""In templates: what else they are made of, and a function that is not merged."""

MAIN = "model"
"""The kind of the function that calls all others."""

_NUMBER = re.compile(r"(?: [-+] )?\b(?:0[xX][0-9A-Fa-f]+|\d+)u?\b")


@dataclass(frozen=True)
class Part:
    """Text that becomes code once.

    kind: the template that it comes of. operations: that need it, each once; none where it is there whatever they are.
    identity: the same for what is the same function where layers have other widths. known: numbers that it is told of
    by the only one that calls it, so that compilers make constants of them.
    """

    kind: str
    text: str
    operations: tuple[str, ...]
    identity: str
    known: Mapping[str, int] = field(default_factory=dict)


def code(program: Program, prices: Mapping[str, float]) -> tuple[Code, ...]:
    """What each part of a program takes."""
    found, alike = [], Counter[str]()
    for part, counts in counted(program):
        size = math.ceil(sum(count * prices.get(name, 0.0) for name, count in counts.items()))
        alike[part.identity] += 1
        found.append(Code(f"{part.identity} {alike[part.identity]}", size, part.operations))
    return tuple(found)


def counted(program: Program) -> Iterator[tuple[Part, Counts]]:
    """Every part of a program with all that a table may have a price for."""
    found = [(part, Wording.of(part.text.replace(NAME, "shared"))) for part in parts(program)]
    helpers = {name: body for _, wording in found for name, body in wording.merged.items()}
    for part, wording in found:
        counts = dict(wording.counts(helpers, part.known))
        if wording.bodies:
            length = sum(counts.get(name, 0) for name in OPERATIONS)
            counts |= {part.kind: 1, f"{part.kind}, by length": length}
        yield part, counts


@cache
def names() -> frozenset[str]:
    """Everything that a table may have a price for, whatever the program and its machine."""
    texts = {one: text for one, text in templates().items() if one.endswith(SUFFIX) and not one.startswith(APART)}
    merged = {one: merged_names(text) for one, text in texts.items()}
    pieces = {piece for text in texts.values() for piece in _PIECE.findall(text)}
    # What is merged into its callers counts there alone.
    kinds = [_kind(one) for one in texts if one not in pieces and (not merged[one] or _OWN.search(texts[one]))]
    lengths = [f"{kind}, by length" for kind in kinds]
    prices = [price for found in merged.values() for name in found for price in prices_of(name)]
    return frozenset((*SINGLE, *kinds, *lengths, *prices))


def parts(program: Program) -> Iterator[Part]:
    """All functions of a program, those that are shared once."""
    helpers: dict[str, list[Step]] = {}
    shared: dict[tuple[str, str], list[Step]] = {}
    for step in program.steps:
        for helper in step.kernel.helpers:
            helpers.setdefault(helper, []).append(step)
        for found in shared_texts(step).values():
            shared.setdefault(found, []).append(step)
    for helper, steps in helpers.items():
        text = render(helper, {"users": [step.kernel for step in steps]})
        # There is one of a name, with all that its users need.
        yield Part(_kind(helper), text, _names(steps), helper)
    for (template, text), steps in shared.items():
        known = _told(steps[0].kernel) if len(steps) == 1 else {}
        yield Part(_kind(template), text, _names(steps), f"{template} {_NUMBER.sub('0', text)}", known)
    for stage in program.stages:
        for step in stage.steps:
            template, text = step.kernel.template, _own_text(step)
            yield Part(_kind(template), text, _names([step]), f"{step.function} {_NUMBER.sub('0', text)}")
        if isinstance(stage, Stream):
            text = render("stream.c.j2", {"stream": stage, "rounds": statements(stage)})
            yield Part("stream", text, _names(stage.steps), stage.function)
    body = "\n".join(calls(program))
    yield Part(MAIN, f"void model_run_in(void)\n{{\n{body}\n}}\n", (), MAIN)


def _own_text(step: Step) -> str:
    """Of a step's own function; what its constants and the functions that it calls are named makes no difference."""
    kernel = step.kernel
    constants = {constant.name: constant.name for constant in kernel.constants}
    return function_text(step, constants, dict.fromkeys(kernel.shared, "shared"))


def _kind(template: str) -> str:
    return template.removesuffix(SUFFIX)


def _names(steps: Sequence[Step]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(step.site.operation.name for step in steps))


def _told(kernel: Kernel) -> dict[str, int]:
    told = kernel.context.get("told", {})
    return {name: number for name, number in told.items() if isinstance(number, int)}
