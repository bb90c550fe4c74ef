"""What tests do where the tools of a machine are not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

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
        reason = f"{', '.join(absent)} not found: apt-get install {' '.join(packages(absent))}"
        if IN_CI and apt_can_install():
            pytest.fail(f"{reason}, as make apt does", pytrace=False)
        pytest.skip(reason)
    return target, machine
