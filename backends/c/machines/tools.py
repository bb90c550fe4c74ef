"""The tools that building and running for a machine takes, and the Debian packages that they come in."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from bitsmith.backends.c.host import host_compiler
from bitsmith.backends.c.machines.machine import Machine
from bitsmith.errors import ArtifactError
from bitsmith.target import Target

PACKAGES = {
    "arm-none-eabi-": ("gcc-arm-none-eabi", "libnewlib-arm-none-eabi"),
    "riscv64-unknown-elf-": ("gcc-riscv64-unknown-elf", "picolibc-riscv64-unknown-elf"),
    "qemu-system-arm": ("qemu-system-arm",),
    "qemu-system-riscv32": ("qemu-system-misc",),
}
"""Debian packages by prefix of a toolchain's commands, or by command."""

COMPILED_WITH = ("gcc", "size", "nm", "objdump")


def missing(machine: Machine, target: Target) -> tuple[str, ...]:
    """Commands that running C of a target on the machine needs and that are not installed."""
    wanted = [*(f"{target.toolchain}{tool}" for tool in COMPILED_WITH), machine.emulator]
    return tuple(command for command in wanted if shutil.which(command) is None)


def packages(commands: Iterable[str]) -> tuple[str, ...]:
    """The Debian packages that bring the commands, where known."""
    found = [
        package
        for command in commands
        for known, brought in PACKAGES.items()
        if command.startswith(known)
        for package in brought
    ]
    return tuple(dict.fromkeys(found))


def require(machine: Machine, target: Target) -> None:
    """ArtifactError, naming commands and packages, unless all is there that the machine takes."""
    absent = missing(machine, target)
    if absent:
        needed = packages(absent)
        advice = f"On Debian: apt-get install {' '.join(needed)}." if needed else "Install them."
        raise ArtifactError(f"{' and '.join(absent)} not found", where=f"machine {machine.name}", fix=advice)


def require_plugin_compiler() -> str:
    """The host's C compiler, which builds the counting plugin; ArtifactError without one."""
    found = host_compiler()
    if found is None:
        raise ArtifactError(
            "there is no C compiler on this machine to build the counting plugin with",
            fix="Install gcc, or set CC to your compiler.",
        )
    return found
