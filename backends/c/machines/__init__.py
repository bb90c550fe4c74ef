"""Generated C on bare machines: built with the target's own compiler, run under QEMU, its instructions counted.

`machine_for(target)` knows the machine, `run_program` and `run_texts` run the golden vectors on it, and what is not
installed is said with the name of the package that brings it.
"""

from __future__ import annotations

from bitsmith.backends.c.machines.build import Sizes
from bitsmith.backends.c.machines.counts import Counts
from bitsmith.backends.c.machines.machine import Machine, machine_for, machines
from bitsmith.backends.c.machines.run import Outcome, run_program, run_texts
from bitsmith.backends.c.machines.tools import missing, packages

__all__ = [
    "Counts",
    "Machine",
    "Outcome",
    "Sizes",
    "machine_for",
    "machines",
    "missing",
    "packages",
    "run_program",
    "run_texts",
]
