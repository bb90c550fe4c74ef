"""The machines that generated C can be run on here, as data: which core, which memory, which emulator."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from bitsmith.target import Target

Region = tuple[int, int]
"""Origin and bytes."""


@dataclass(frozen=True)
class Machine:
    """A board that QEMU emulates.

    cores:    as compilers call them, in -mcpu or -march. emulator: the command of QEMU; options: of it.
    startup:  which startup code and semihosting it takes: `arm` or `riscv`.
    vectors, code, ram: origin and bytes of what memory it has.
    """

    name: str
    cores: tuple[str, ...]
    emulator: str
    startup: str
    vectors: Region
    code: Region
    ram: Region
    options: tuple[str, ...] = ()


@cache
def machines() -> Mapping[str, Machine]:
    """All machines by name, as machines.toml has them."""
    tables = tomllib.loads((files(__package__) / "machines.toml").read_text(encoding="utf-8"))
    return {name: _machine(name, table) for name, table in tables.items()}


def _machine(name: str, table: Mapping[str, Any]) -> Machine:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Machine(name=name, **fields)


def core(target: Target) -> str | None:
    """The core that the target's compiler flags choose: what stands after -mcpu= or -march=, extensions left out."""
    for flag in target.flags:
        if found := re.fullmatch(r"-m(?:cpu|arch)=([\w-]+).*", flag):
            return found[1].partition("_")[0]
    return None


def machine_for(target: Target) -> Machine | None:
    """A machine with the target's core, or None: the host is none, and QEMU does not know all cores."""
    wanted = core(target)
    return next((machine for machine in machines().values() if wanted in machine.cores), None)
