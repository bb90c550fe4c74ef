"""What tests do where the tools of a machine are not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from typing import NoReturn

import pytest

from bitsmith.backends.c.machines import Machine, machine_for, missing, packages
from bitsmith.target import Target, load_target
from tests.conftest import IN_CI


@cache
def apt_can_install() -> bool:
    """Whether `make apt` could install packages here: apt-get, and the right to use it."""
    if shutil.which("apt-get") is None:
        return False
    if os.geteuid() == 0:
        return True
    return shutil.which("sudo") is not None and not subprocess.run(["sudo", "-n", "true"], check=False).returncode


def machine_of(name: str) -> tuple[Target, Machine]:
    """The target of that name and its machine; without the tools the test is skipped, or fails where they should be."""
    target = load_target(name)
    machine = machine_for(target)
    assert machine is not None
    absent = missing(machine, target)
    if absent:
        _go_without(absent, packages(absent))
    return target, machine


def command(name: str, *debian: str) -> str:
    """The path of a command, which these Debian packages bring; without it as above."""
    return shutil.which(name) or _go_without([name], debian)


def _go_without(absent: Iterable[str], debian: Iterable[str]) -> NoReturn:
    reason = f"{', '.join(absent)} not found: apt-get install {' '.join(debian)}"
    if IN_CI and apt_can_install():
        pytest.fail(f"{reason}, as make apt does", pytrace=False)
    pytest.skip(reason)
