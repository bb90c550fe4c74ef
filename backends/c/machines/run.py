"""A model's golden vectors on the machine that it was compiled for."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bitsmith.backends.c.emit import project, sources
from bitsmith.backends.c.machines.build import FAULT, Image, Sizes, disassembled, link, support
from bitsmith.backends.c.machines.counts import Counter, Counts
from bitsmith.backends.c.machines.machine import Machine, core
from bitsmith.backends.c.machines.tools import require
from bitsmith.backends.c.program import Program
from bitsmith.errors import VerificationError
from bitsmith.execution.batches import Batch
from bitsmith.execution.interpreter import run as interpret

SECONDS = 300
PRICED = ("cortex-m4",)
"""Cores whose cycles are estimated, see cycles.py."""

MEANINGS = {
    0: "every element is what it must be",
    1: "a golden vector is not met",
    2: "something was written beyond the arena",
    FAULT: "the core trapped",
}
"""Of the codes that programs end with: those of model_test.c, and one of the startup code's."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    code:  what the program ended with, see MEANINGS. sizes: of the model's object file.
    stack: bytes below its caller's frame that the model wrote to; None unless code is 0.
    counts: of instructions of one inference; None unless they were asked for and code is 0.
    """

    machine: str
    code: int
    sizes: Sizes
    stack: int | None = None
    counts: Counts | None = None

    @property
    def passed(self) -> bool:
        """Whether every golden vector was met and nothing was written beyond the arena."""
        return self.code == 0

    @property
    def meaning(self) -> str:
        """The code in words."""
        return MEANINGS.get(self.code, f"the program ended with {self.code}")


def run_program(machine: Machine, program: Program, inputs: Batch, *, count: bool = False) -> Outcome:
    """Write the program with golden vectors of its own, from the interpreter, and run it: see `run_texts`."""
    texts = {**sources(program), **project(program, inputs, interpret(program.graph, inputs))}
    return run_texts(machine, program, texts, count=count)


def run_texts(machine: Machine, program: Program, texts: Mapping[str, str], *, count: bool = False) -> Outcome:
    """Build the files of an artifact for the machine, run its golden vectors there, and measure one inference.

    texts: model.h, model.c, model_constants.h, model_test.c and model_vectors.h by name.
    count: whether to count instructions too.
    Raises ArtifactError where a tool is missing, BudgetError where the model does not fit the machine,
    VerificationError where it does not compile or never ends.
    """
    require(machine, program.target)
    with tempfile.TemporaryDirectory(prefix="bitsmith-machine-") as name:
        folder = Path(name)
        image = link(machine, program.target, {**texts, **support(machine, program)}, folder)
        listing = disassembled(program.target, image.path) if count and core(program.target) in PRICED else None
        counter = Counter(image, folder / "counts.txt", listing) if count else None
        done = _emulate(machine, image, counter)
        if done.returncode:
            return Outcome(machine.name, done.returncode, image.model)
        stack = re.search(r"^stack (\d+)$", done.stderr, re.MULTILINE)
        if stack is None:
            raise VerificationError(f"told nothing of its stack: {done.stderr[:200]!r}", where=machine.name)
        return Outcome(machine.name, 0, image.model, int(stack[1]), counter.read() if counter else None)


def _emulate(machine: Machine, image: Image, counter: Counter | None) -> subprocess.CompletedProcess[str]:
    command = [machine.emulator, "-M", machine.name, *machine.options, "-nographic", "-monitor", "none"]
    command += ["-serial", "none", "-semihosting-config", "enable=on,target=native", "-kernel", str(image.path)]
    command += counter.options() if counter else []
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise VerificationError(
            f"did not end within {SECONDS} seconds", where=f"machine {machine.name}", fix="Report this model."
        ) from late
