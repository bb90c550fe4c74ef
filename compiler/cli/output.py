"""How commands say what they found: lines for people, JSON for programs, progress beside both."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable
from typing import Any

from bitsmith.console import ProgressLine
from bitsmith.progress import Progress, silent


def say(options: argparse.Namespace, lines: Iterable[str], result: Any) -> None:
    """Print the result: as JSON under --json, else the lines, unless --quiet."""
    if options.json:
        print(json.dumps(finite(result), indent=1, ensure_ascii=False, allow_nan=False))
    elif not options.quiet:
        for line in lines:
            print(line)


def progress_for(options: argparse.Namespace) -> Progress:
    """Where a command tells how far it is: stderr, or nowhere under --quiet."""
    return silent if options.quiet else ProgressLine(sys.stderr)


def finite(value: Any) -> Any:
    """The value with null for every infinity, which JSON has no number for."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
