"""Generated C linked into a program for a bare machine, and the sizes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bitsmith.backends.c.machines.machine import Machine
from bitsmith.backends.c.program import Program
from bitsmith.backends.c.text import render, tidy
from bitsmith.disk import run_tool
from bitsmith.errors import BudgetError, VerificationError
from bitsmith.target import Target

FAULT = 70
"""What the program ends with when the core traps."""

LEAST_STACK = 512
OPTIMIZED = ("-O2", "-g0", "-ffunction-sections", "-fdata-sections")
"""Sections of their own let the linker leave out `model_run`, whose arena nothing here uses."""

STRICT = ("-std=c99", "-Wall", "-Wextra")
LIBRARIES = {"arm": ("--specs=nosys.specs",), "riscv": ("--specs=picolibc.specs",)}


@dataclass(frozen=True)
class Sizes:
    """Bytes of an object file's sections: text with constants, data, bss."""

    text: int
    data: int
    bss: int

    @property
    def flash(self) -> int:
        """What is held in flash: code, constants, and what data is filled from."""
        return self.text + self.data


@dataclass(frozen=True)
class Image:
    """A linked program. symbols: address and bytes of every function, by name."""

    path: Path
    model: Sizes
    symbols: Mapping[str, tuple[int, int]]


def support(machine: Machine, program: Program) -> dict[str, str]:
    """The text of what a machine needs beside the model's files: startup, semihosting, linker script, runner."""
    graph = program.graph
    context = {
        "machine": machine,
        "codes": {"fault": FAULT},
        "least_stack": LEAST_STACK,
        "inputs": [program.tensors[name] for name in graph.inputs],
        "outputs": [program.tensors[name] for name in graph.outputs],
    }
    templates = {
        "link.ld": "link.ld",
        "memory.h": "memory.h",
        "semihosting.h": "semihosting.h",
        "startup.c": f"startup_{machine.startup}.c",
        "runner.c": "runner.c",
    }
    return {name: tidy(render(f"machine/{template}.j2", context)) for name, template in templates.items()}


def link(machine: Machine, target: Target, texts: Mapping[str, str], folder: Path) -> Image:
    """Compile and link the files of a model and of `support` for the machine, in `folder`.

    Raises BudgetError for a model that the machine's memory does not hold, VerificationError for one that does not
    compile, ArtifactError where this machine's disk is full.
    """
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    compiler = f"{target.toolchain}gcc"
    flags = [*target.flags, *LIBRARIES[machine.startup], *STRICT, *OPTIMIZED]
    for unit in ("model", "runner", "startup"):
        done = run_tool([compiler, *flags, "-c", f"{unit}.c", "-o", f"{unit}.o"], folder)
        if done.returncode:
            raise _refused("does not compile", done.stderr)
    objects = ["startup.o", "runner.o", "model.o"]
    linked = ["-nostartfiles", "-Wl,--gc-sections", "-T", "link.ld", *objects, "-o", "program.elf"]
    done = run_tool([compiler, *flags, *linked], folder)
    if done.returncode:
        if "overflowed" in done.stderr or "will not fit" in done.stderr:
            raise BudgetError("the model does not fit into its memory", where=f"machine {machine.name}")
        raise _refused("does not link", done.stderr)
    sizes = sizes_of(target, folder / "model.o")
    return Image(folder / "program.elf", sizes, _symbols(target, folder / "program.elf"))


def compiled(target: Target, texts: Mapping[str, str], folder: Path) -> tuple[Sizes, dict[str, int]]:
    """Compile model.c, as `link` does, in `folder`: the sections of its object file, and bytes by symbol.

    Raises VerificationError for a model that does not compile.
    """
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    libraries = next((flags for startup, flags in LIBRARIES.items() if startup in target.toolchain), ())
    command = [f"{target.toolchain}gcc", *target.flags, *libraries, *STRICT, *OPTIMIZED]
    done = run_tool([*command, "-c", "model.c", "-o", "model.o"], folder)
    if done.returncode:
        raise _refused("does not compile", done.stderr)
    symbols = _symbols(target, folder / "model.o", "tTrR")
    return sizes_of(target, folder / "model.o"), {name: size for name, (_, size) in symbols.items()}


def sizes_of(target: Target, path: Path) -> Sizes:
    """The sections of an object file or program, as the toolchain's `size` adds them up."""
    done = run_tool([f"{target.toolchain}size", path.name], path.parent)
    text, data, bss = (int(number) for number in done.stdout.splitlines()[1].split()[:3])
    return Sizes(text, data, bss)


def disassembled(target: Target, path: Path) -> str:
    """A program as the toolchain's disassembler shows it."""
    return run_tool([f"{target.toolchain}objdump", "-d", "--no-show-raw-insn", path.name], path.parent).stdout


def _symbols(target: Target, path: Path, types: str = "tT") -> dict[str, tuple[int, int]]:
    """Address and bytes by name, of symbols of these types, as nm calls them."""
    done = run_tool([f"{target.toolchain}nm", "--print-size", path.name], path.parent)
    found = (line.split() for line in done.stdout.splitlines())
    return {one[3]: (int(one[0], 16), int(one[1], 16)) for one in found if len(one) == 4 and one[2] in types}


def _refused(what: str, told: str) -> VerificationError:
    return VerificationError(f"{what}: {told.strip()[:1000]}", where="the generated C", fix="Report this model.")
