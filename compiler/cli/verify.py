"""`bitsmith verify`: the files against their hashes, and every form of the model against the reference."""

from __future__ import annotations

import argparse
from pathlib import Path

from bitsmith.cli.output import progress_for, say
from bitsmith.console import paint


def add_options(command: argparse.ArgumentParser) -> None:
    """What verify takes."""
    command.add_argument("folder", metavar="OUT/", help="a compiled folder")
    command.add_argument(
        "--data", metavar="DATA.npz", help="compare on these samples too, not only on the test vectors"
    )
    command.add_argument(
        "--window", metavar="SIZE:STRIDE", help="cut each sample of the data into windows, as evaluate does"
    )


def run(options: argparse.Namespace) -> int:
    """Verify, and print a line for each comparison; 1 if a file is altered or an exact form differs."""
    from bitsmith.summary import verification_line
    from bitsmith.verification import verify
    from bitsmith.windows import Window

    data = None if options.data is None else Path(options.data)
    window = None if options.window is None else Window.parse(options.window)
    found = verify(Path(options.folder), data, window=window, progress=progress_for(options))
    lines = [paint(f"altered: {line}", "red") for line in found.damage]
    lines += [verification_line(one.to_json()) for one in found.checks]
    if found.trial is not None:
        colour = {True: "green", False: "red", None: "yellow"}[found.trial.passed]
        lines.append(paint(found.trial.found, colour))
    if not found.damage:
        lines.insert(0, paint(f"files: all {found.files} as the manifest says", "green"))
    lines.append(paint("verified", "green") if found.passed else paint("not verified", "red"))
    say(options, lines, found.to_json())
    return 0 if found.passed else 1


COMMANDS = (("verify", "hold a compiled folder to its manifest and to the integer reference", add_options, run),)
