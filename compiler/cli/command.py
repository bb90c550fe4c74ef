"""One command, from what was typed to the exit code. Results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from bitsmith.cli import INTERRUPTED
from bitsmith.cli.output import end_progress, say_error
from bitsmith.cli.parser import parse
from bitsmith.console import paint
from bitsmith.disk import DISK, full
from bitsmith.errors import BitsmithError, InternalError
from bitsmith.printable import printable


def perform(given: Sequence[str]) -> int:
    """Run the command that the arguments name; returns the exit code, whatever happens."""
    _open_streams()
    try:
        try:
            run, options = parse(given)
            code = run(options)
            sys.stdout.flush()
            return code
        finally:
            end_progress()
    except BitsmithError as fault:
        if _debugging():
            raise
        return _failed(given, fault)
    except KeyboardInterrupt as stop:
        return _failed(given, Interrupted(str(stop) or "interrupted; nothing was written"))
    except BrokenPipeError:
        # Whoever read our output has had enough.
        _sink()
        return 0
    except MemoryError:
        fix = "Give a smaller batch_size to calibrate, or use a larger machine."
        return _failed(given, BitsmithError("there is not enough memory", fix=fix))
    except Exception as fault:
        if _debugging():
            raise
        if isinstance(fault, OSError) and fault.errno in DISK:
            where = str(fault.filename or "standard output, or a temporary file")
            return _failed(given, full(str(fault.strerror), where))
        text = str(fault).strip().replace("\n", " ")
        what = f"this is a defect of bitsmith ({type(fault).__name__}: {text})"
        return _failed(given, InternalError(what, fix="Set BITSMITH_DEBUG=1 for the traceback, and report it."))


class Interrupted(BitsmithError):
    """Someone pressed Ctrl-C. Commands that leave something say what, as the text of their KeyboardInterrupt."""

    exit_code = INTERRUPTED

    def __str__(self) -> str:
        return self.what


def _debugging() -> bool:
    return os.environ.get("BITSMITH_DEBUG", "") not in ("", "0")


def _failed(arguments: Sequence[str], fault: BitsmithError) -> int:
    """Tell what went wrong in one line of stderr and, for programs, as JSON on stdout; returns the exit code."""
    # The command line itself may be what is wrong, so that nothing has been read of it.
    if "--json" in arguments:
        try:
            say_error(fault)
            sys.stdout.flush()
        except OSError:
            # It cannot be written either; the exit code is still to be had.
            _sink()
    with suppress(OSError):
        sys.stderr.write(f"{paint('bitsmith:', 'red', sys.stderr)} {printable(str(fault))}\n")
    return fault.exit_code


def _open_streams() -> None:
    """Put a sink in the place of a stream that the caller has closed, of which Python makes None."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))


def _sink() -> None:
    """Lead stdout to where nothing fails: Python flushes it once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
