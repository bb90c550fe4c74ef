"""How commands say what they found: lines for people, JSON for programs, progress beside both."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable
from typing import Any

from bitsmith.console import ProgressLine
from bitsmith.errors import BitsmithError
from bitsmith.printable import printable, printable_json, printable_line
from bitsmith.progress import Progress, silent


def say(options: argparse.Namespace, lines: Iterable[str], result: Any) -> None:
    """Print the result: as JSON under --json, else the lines, unless --quiet."""
    end_progress()
    if options.json:
        print(printable_json(json.dumps(finite(result), indent=1, ensure_ascii=False, allow_nan=False)))
    elif not options.quiet:
        for line in lines:
            # Colours are ours on a terminal alone.
            print(printable_line(line) if sys.stdout.isatty() else printable(line))


def say_error(fault: BitsmithError) -> None:
    """Print an error as JSON: its parts, each as in `BitsmithError`, and the exit code."""
    parts = {"what": fault.what, "where": fault.where, "fix": fault.fix, "exit_code": fault.exit_code}
    print(printable_json(json.dumps({"error": parts}, indent=1, ensure_ascii=False)))


_lines: list[ProgressLine] = []


def progress_for(options: argparse.Namespace, task: str = "") -> Progress:
    """Where a command tells how far it is: stderr, if that is a terminal; nowhere under --quiet and --json.

    task: what it does from now on, where it takes a while before anything else is told.
    """
    if options.quiet or options.json:
        return silent
    line = ProgressLine(sys.stderr)
    _lines.append(line)
    if task:
        line(task, 0, 0)
    return line


def end_progress() -> None:
    """Wipe what was said of progress: the result follows, or an error."""
    while _lines:
        _lines.pop().end()


def finite(value: Any) -> Any:
    """The value with null for every infinity, which JSON has no number for."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
