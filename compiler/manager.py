"""Passes, pipelines of them, and the one callback that hangs on every step.

A pipeline is data: it prints as `fold-batch-norm,calibrate{bins=2048}` and parses back to equal passes.
"""

from __future__ import annotations

import dataclasses
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from bitsmith import registry
from bitsmith.errors import InternalError, PipelineError
from bitsmith.execution.heap import trim_heap
from bitsmith.ir.graph import Node
from bitsmith.module import Module


@dataclass
class Changes:
    """What one run of a pass did: what it changed, what it left alone and why, and what it found out.

    made:    what was changed, as reports call it.
    refused: what was left alone, each with the reason.
    notes:   what was found out, a sentence each.
    """

    made: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def change(self, where: Node | str) -> None:
        """Take note of a node, or of what a text calls it, that was changed."""
        self.made.append(_located(where))

    def refuse(self, where: Node | str, reason: str) -> None:
        """Take note of what was left alone, and why: a clause that can follow a colon."""
        self.refused.append((_located(where), reason))

    def note(self, text: str) -> None:
        """Take note of something found out, which the summary and the manifest tell."""
        self.notes.append(text)

    def __str__(self) -> str:
        return f"{len(self.made)} changed" + (f", {len(self.refused)} refused" if self.refused else "")


def _located(where: Node | str) -> str:
    return where if isinstance(where, str) else where.where


@dataclass(frozen=True)
class Pass(ABC):
    """One rewrite of a module, or one decision about it. A frozen dataclass whose fields are its options.

    Subclasses are frozen dataclasses too, set `name`, and say in their docstring which algebra they apply
    and where it comes from. `preserves` promises that the float graph computes what it computed before;
    `--verify-each` holds a pass to it.
    """

    name: ClassVar[str]
    preserves: ClassVar[bool] = True

    @abstractmethod
    def run(self, module: Module) -> Changes:
        """Do it, and say what was done. A refusal is not an error: it is counted, with its reason."""

    def __str__(self) -> str:
        """The pass as pipeline text; options at their default are left out."""
        options = [
            f"{option.name}={_print_option(getattr(self, option.name))}"
            for option in dataclasses.fields(self)
            if getattr(self, option.name) != _default(option)
        ]
        return self.name + ("{" + ",".join(options) + "}" if options else "")

    @classmethod
    def from_options(cls, options: dict[str, str]) -> Self:
        """Make the pass from option texts; an unknown name or an unreadable text is a PipelineError."""
        known = {option.name: option for option in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for name, text in options.items():
            if name not in known:
                raise PipelineError(
                    f"there is no option {name}",
                    where=f"pass {cls.name}",
                    fix=registry.suggest(name, known) or f"{cls.name} takes no options.",
                )
            values[name] = _parse_option(text, known[name].type, f"option {name} of pass {cls.name}")
        missing = [o for n, o in known.items() if n not in values and _default(o) is dataclasses.MISSING]
        if missing:
            raise PipelineError(f"option {missing[0].name} is required", where=f"pass {cls.name}")
        return cls(**values)


@dataclass(frozen=True)
class Step:
    """What the callback sees: after the import (`done` is None) and after each pass.

    module:  as the pass left it; a callback only reads it.
    index:   how many passes have run, of `total`.
    done:    the pass that ran. changes: what it did. seconds: how long it took.
    """

    module: Module
    index: int
    total: int
    done: Pass | None = None
    changes: Changes = field(default_factory=Changes)
    seconds: float = 0.0


Callback = Callable[[Step], None]


@dataclass(frozen=True)
class Pipeline:
    """Passes in the order they run."""

    passes: tuple[Pass, ...]

    def __str__(self) -> str:
        return ",".join(str(one) for one in self.passes)

    @classmethod
    def parse(cls, text: str) -> Pipeline:
        """Read `name,name{option=value,...},...`; passes are found by name among the installed ones."""
        return cls(tuple(_parse_pass(name, options) for name, options in _split(text)))

    def run(self, module: Module, callbacks: Sequence[Callback] = ()) -> None:
        """Run every pass in order, telling each callback before the first and after each."""
        total = len(self.passes)
        _tell(callbacks, Step(module, 0, total))
        for index, one in enumerate(self.passes, start=1):
            start = time.perf_counter()
            module.ahead = self.passes[index:]
            changes = one.run(module)
            _tell(callbacks, Step(module, index, total, one, changes, time.perf_counter() - start))
            trim_heap()


def _tell(callbacks: Iterable[Callback], step: Step) -> None:
    for callback in callbacks:
        callback(step)


_PASS = re.compile(r"\s*(?P<name>[A-Za-z0-9_.-]+)\s*(?:\{(?P<options>[^{}]*)\})?\s*(?:,|$)")
_OPTION = re.compile(r"\s*(?P<name>\w+)\s*=\s*(?P<text>[^,=]+?)\s*(?:,|$)")


def _split(text: str) -> list[tuple[str, dict[str, str]]]:
    """The passes of a pipeline text as (name, option texts)."""
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while position < len(text):
        match = _PASS.match(text, position)
        if match is None:
            raise PipelineError(
                f"cannot read {text[position:]!r}",
                where=f"pipeline, character {position + 1}",
                fix="Write passes as name,name{option=value,option=value}.",
            )
        found.append((match["name"], _split_options(match["options"] or "", match["name"])))
        position = match.end()
    if not found:
        raise PipelineError("the pipeline is empty", fix="`bitsmith passes` lists what can stand in one.")
    return found


def _split_options(text: str, name: str) -> dict[str, str]:
    options: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _OPTION.match(text, position)
        if match is None or match["name"] in options:
            raise PipelineError(
                f"cannot read the options {{{text}}}",
                where=f"pass {name}",
                fix="Write each once, as option=value, with commas between.",
            )
        options[match["name"]] = match["text"]
        position = match.end()
    return options


def _parse_pass(name: str, options: dict[str, str]) -> Pass:
    found = registry.find(registry.PASSES, name)
    if not (isinstance(found, type) and issubclass(found, Pass)):
        raise PipelineError(f"{name} is not a pass", where=repr(found), fix="Its entry point names no Pass class.")
    return found.from_options(options)


def _default(option: dataclasses.Field[Any]) -> Any:
    return option.default_factory() if option.default_factory is not dataclasses.MISSING else option.default


def _print_option(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse_option(text: str, annotation: Any, where: str) -> Any:
    """Read an option text as the type that its field declares: bool, int, float or str, or X | None."""
    declared = str(annotation if isinstance(annotation, str) else getattr(annotation, "__name__", annotation))
    kind, _, optional = declared.partition(" | ")
    if optional == "None" and text == "None":
        return None
    readers: dict[str, Callable[[str], Any]] = {"bool": _parse_bool, "int": int, "float": float, "str": str}
    if kind not in readers:
        raise InternalError(f"an option of type {declared}", where=where, fix="Options are bool, int, float, str.")
    try:
        return readers[kind](text)
    except ValueError:
        raise PipelineError(f"{text!r} is not a {kind}", where=where) from None


def _parse_bool(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"
