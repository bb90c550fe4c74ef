"""The command line: `bitsmith COMMAND ...`. Results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from bitsmith.cli.parser import parse
from bitsmith.console import paint
from bitsmith.errors import BitsmithError

INTERRUPTED = 130
DEFECT = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed a check or a budget, 2 wrong input.

    Nothing but a defect of bitsmith itself ends in a traceback, and that only with BITSMITH_DEBUG=1.
    """
    try:
        run, options = parse(sys.argv[1:] if arguments is None else list(arguments))
        code = run(options)
        sys.stdout.flush()
        return code
    except BitsmithError as fault:
        if _debugging():
            raise
        _complain(str(fault))
        return fault.exit_code
    except KeyboardInterrupt:
        _complain("interrupted; nothing was written")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough. Python flushes stdout again when it ends, so give it a sink.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        _complain("there is not enough memory. Give a smaller batch_size to calibrate, or use a larger machine.")
        return 2
    except Exception as fault:
        if _debugging():
            raise
        text = str(fault).strip().replace("\n", " ")
        _complain(
            f"this is a defect of bitsmith ({type(fault).__name__}: {text}). "
            "Set BITSMITH_DEBUG=1 for the traceback, and report it."
        )
        return DEFECT


def _debugging() -> bool:
    return os.environ.get("BITSMITH_DEBUG", "") not in ("", "0")


def _complain(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"{paint('bitsmith:', 'red', sys.stderr)} {text}\n")
