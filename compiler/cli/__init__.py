"""The command line: `bitsmith COMMAND ...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

INTERRUPTED = 130
"""The exit code where someone pressed Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed a check or a budget, 2 wrong input, 130 interrupted.

    Nothing but a defect of bitsmith itself ends in a traceback, and that only with BITSMITH_DEBUG=1.
    """
    try:
        # Here, and not above: an interrupt while modules are loaded is one like any other.
        from bitsmith.cli.command import perform

        return perform(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:
        sys.stderr.write("bitsmith: interrupted\n")
        return INTERRUPTED
