"""The text of a program's functions. What several kernels call, and comes out the same for them, is written once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

from bitsmith.backends.c.names import identifiers
from bitsmith.backends.c.stage import Stage, Step
from bitsmith.backends.c.stream import Stream
from bitsmith.backends.c.stream_text import statements
from bitsmith.backends.c.text import render

NAME = "@name@"
"""Stands for a shared function's name until its text is known to be new."""


class Functions:
    """Renders functions, stage by stage.

    constants: the C name of every constant, by function and its name there. taken: C identifiers.
    """

    def __init__(self, constants: Mapping[tuple[str, str], str], taken: Collection[str]) -> None:
        self._constants = constants
        self._taken = {*taken, *constants.values()}
        self._shared: dict[str, str] = {}

    @property
    def shared(self) -> list[str]:
        """The text of every function so far that kernels share."""
        return [text.replace(NAME, name) for text, name in self._shared.items()]

    def of(self, stage: Stage) -> list[str]:
        """The text of every function of a stage, each behind its comment."""
        found = [self._function(step) for step in stage.steps]
        if isinstance(stage, Stream):
            found.append(render("stream.c.j2", {"stream": stage, "rounds": statements(stage)}))
        return found

    @property
    def names(self) -> Mapping[str, str]:
        """What every function so far that kernels share is called, by its text as `shared_texts` has it."""
        return self._shared

    def _function(self, step: Step) -> str:
        site, kernel = step.site, step.kernel
        shared = {key: self._named(template, text) for key, (template, text) in shared_texts(step).items()}
        constants = {constant.name: self._constants[site.function, constant.name] for constant in kernel.constants}
        text = function_text(step, constants, shared)
        return render("comment.c.j2", {"site": site, "kernel": kernel, "bits": int.bit_length}) + "\n" + text

    def _named(self, template: str, text: str) -> str:
        """The identifier of the function that a template gave the text of."""
        if text not in self._shared:
            wanted = PurePosixPath(template).name.removesuffix(".c.j2")
            self._shared[text] = identifiers([wanted], self._taken)[wanted]
            self._taken.add(self._shared[text])
        return self._shared[text]


def function_text(step: Step, constants: Mapping[str, str], shared: Mapping[str, str]) -> str:
    """The text of a step's own function. constants, shared: the C names of what it reads and calls, by name there."""
    return render(step.kernel.template, {**_context(step), "c": constants, "shared": shared})


def shared_texts(step: Step) -> dict[str, tuple[str, str]]:
    """Template and text of each function that a step's own calls, by its name there; the text calls itself NAME."""
    context = {**_context(step), "name": NAME}
    return {key: (template, render(template, context)) for key, template in step.kernel.shared.items()}


def _context(step: Step) -> dict[str, object]:
    return {**step.kernel.context, "site": step.site, "kernel": step.kernel}
