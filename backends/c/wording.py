"""What generated functions are made of, counted from their text: code.py tells from it what they take.

Counted is what a compiler makes instructions of: loops, branches, elements of arrays, sums, products, shifts, calls.
Functions that are merged into their callers count where they are called: with all that they hold, or under their name
where they are helpers of many functions. Assembly counts by its instructions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

LONGEST = 12
"""The most that a number counts which a merged helper is called with: so often its loops are unrolled."""

UNROLLED = "UNROLLED"
"""What stands before such a loop."""

OPERATIONS = ("branch", "sum", "shift", "product", "element", "assignment", "large number", "larger number")
"""Counts that say how long a function is."""

_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_FUNCTION = re.compile(r"^(?P<head>[^\s#/}][^;={}#]*?\b(?P<name>\w+)\([^;{}]*\))\s*\{(?P<body>.*?)^\}", re.M | re.S)
_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*"|[A-Za-z_]\w*|0[xX][0-9A-Fa-f]+|\d+|<<=|>>=|<<|>>|->|\+\+|--|&&|\|\||[-+*/&|^<>=!]=|[^\s\w]'
)

_KINDS = {
    **dict.fromkeys(("for", "while"), "loop"),
    **dict.fromkeys(("if", "?", "&&", "||"), "branch"),
    **dict.fromkeys(("+", "-", "+=", "-=", "++", "--"), "sum"),
    **dict.fromkeys(("<<", ">>", "&", "|", "^", "<<=", ">>=", "&=", "|="), "shift"),
    "[": "element",
    "->": "told",
    "=": "assignment",
}
MOVES = ("memcpy", "memset")
"""Functions of the C library that compilers merge."""

_NO_CALLS = frozenset((*_KINDS, "sizeof", "return", "defined", "__attribute__", "__asm__", "volatile", "_Pragma"))
_NO_OPERANDS = frozenset(("const", "(", ",", "int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t", "void"))
"""A star behind these makes a pointer of a type, or follows one."""

LARGE, LARGER = 255, 2047
"""Numbers beyond these do not fit into an instruction of some machines."""

_INSTRUCTION = re.compile(r"[a-z][\w.]*(?=\s|$)(?!.*:$)")
_NARROW = re.compile(r"(?:movs?|adds|subs|cmp|bx?|bne|beq|it[et]?|push|pop|nop)(?=\s|$)")
"""Those that take two bytes."""

_IF_NOT_ZERO = r"^(?P<indent> *)(?:if \({0}\)|for \([^;]*; \w+ < {0};[^)]*\)) {{\n.*?^(?P=indent)}}\n"
_AFTER_ROUNDS = r"^(?P<indent> *)for \(; (?P<at>\w+) < {0}; (?P=at)\+\+\) {{\n.*?^(?P=indent)}}\n"
_ROUNDS = r"for \(; (\w+) < {0} - \d+; \1 \+= (\d+)\)"

Counts = Mapping[str, int]

SINGLE = (
    *dict.fromkeys(_KINDS.values()),
    *("product", "large number", "larger number", "call", "instruction", "narrow instruction"),
    *(name for move in MOVES for name in (f"{move}()", f"{move}() bytes")),
)
"""The names of all that is counted but for merged helpers: see `prices_of`."""

_MERGED = re.compile(r"\binline\b(?!\))[^;{}]*?\b(\w+)\((?!\()")


def merged_names(template: str) -> list[str]:
    """The functions of a template that are merged into their callers."""
    return _MERGED.findall(template)


def prices_of(helper: str) -> tuple[str, str]:
    """The names that calls of a merged helper are counted under."""
    return f"{helper}()", f"{helper}() rounds"


@dataclass(frozen=True)
class Wording:
    """The functions of a text: the bodies of those that are merged into their callers by name, and of all others."""

    merged: Mapping[str, str]
    bodies: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Wording:
        """Of C as the compiler of its machine reads it."""
        merged, bodies = {}, []
        for found in _FUNCTION.finditer("".join(_chosen(_COMMENT.sub("", text)))):
            if re.search(r"\binline\b", found["head"]):
                merged[found["name"]] = found["body"]
            else:
                bodies.append(found["body"])
        return cls(merged, tuple(bodies))

    def counts(self, helpers: Mapping[str, str], known: Mapping[str, int]) -> Counts:
        """Of all that becomes code.

        helpers: the bodies of merged functions of other texts. known: numbers that compilers find variables to be:
        what such a number rules out is left out.
        """
        found: Counter[str] = Counter()
        for body in self.bodies:
            found.update(self._counted(_without(body, known), helpers, ()))
        return found

    def _counted(self, body: str, helpers: Mapping[str, str], within: tuple[str, ...]) -> Iterator[str]:
        """The name of everything in a body, once for each time. within: the merged functions that it is of."""
        tokens = _TOKEN.findall(body)
        yield from _instructions(tokens)
        for position, (token, following) in enumerate(zip(tokens, [*tokens[1:], ""], strict=True)):
            if token == "+" and following.isdigit() and tokens[position + 2] == "]":
                # Loads and stores add a number that is known by themselves.
                continue
            if token in _KINDS:
                yield _KINDS[token]
            elif token == "*" and position and tokens[position - 1] not in _NO_OPERANDS:
                yield "product"
            elif token[0].isdigit() and int(token, 0) > LARGE:
                yield "large number" if int(token, 0) <= LARGER else "larger number"
            elif following == "(" and token.isidentifier() and token not in _NO_CALLS:
                if token in self.merged and token not in within:
                    yield from self._counted(self.merged[token], helpers, (*within, token))
                else:
                    yield from _call(token, tokens[position + 1 :], helpers)


def _call(name: str, arguments: Sequence[str], helpers: Mapping[str, str]) -> Iterator[str]:
    if name in helpers:
        once, rounds = prices_of(name)
        yield once
        if UNROLLED in helpers[name]:
            yield from [rounds] * sum(_numbers(arguments))
    elif name in MOVES:
        # Few bytes are moved in place, and compilers know how many by the last argument.
        yield f"{name}()"
        yield from [f"{name}() bytes"] * ([*_numbers(arguments)][-1:] or [LONGEST])[0]
    else:
        yield "call"


def _numbers(tokens: Sequence[str]) -> Iterator[int]:
    """The arguments of a call that are plain numbers, each no more than LONGEST."""
    depth = 0
    for position, token in enumerate(tokens):
        depth += (token in "([{") - (token in ")]}")
        if not depth:
            return
        if depth == 1 and token.isdigit() and tokens[position - 1] in "(," and tokens[position + 1] in "),":
            yield min(int(token), LONGEST)


def _chosen(text: str) -> Iterator[str]:
    """The lines of a text, and of those behind an #if the first branch: of its machine. Of `#if !`, the other."""
    kept = [True]
    for line in text.splitlines(keepends=True):
        word = line.strip()
        if word.startswith("#if"):
            kept.append(not word.startswith("#if !"))
        elif word.startswith("#else"):
            kept[-1] = not kept[-1]
        elif word.startswith("#endif"):
            kept.pop()
        elif all(kept) and not word.startswith("#"):
            yield line


def _without(body: str, known: Mapping[str, int]) -> str:
    """A body without what known numbers rule out, and without asking for them."""
    if known:
        body = re.sub(r"^.* = \w+->\w+;\n", "", body, flags=re.M)
    for name, number in known.items():
        if number == 0:
            body = re.sub(_IF_NOT_ZERO.format(name), "", body, flags=re.M | re.S)
        rounds = re.search(_ROUNDS.format(name), body)
        if rounds is not None and number % int(rounds[2]) == 0:
            body = re.sub(_AFTER_ROUNDS.format(name), "", body, flags=re.M | re.S)
    return body


def _instructions(tokens: Sequence[str]) -> Iterator[str]:
    """Of assembly, those that are repeated as often as they are."""
    times = [1]
    for token in tokens:
        for line in token[1:-1].replace("\\t", " ").split("\\n") if token.startswith('"') else ():
            word = line.strip()
            if word.startswith(".rept"):
                times.append(times[-1] * int(word.split()[1]))
            elif word.startswith(".endr"):
                times.pop()
            elif _INSTRUCTION.match(word):
                yield from ["narrow instruction" if _NARROW.match(word) else "instruction"] * times[-1]
