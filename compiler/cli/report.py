"""`bitsmith report`: one page that says all there is to say of a compiled folder."""

from __future__ import annotations

import argparse

from bitsmith.cli.output import say


def add_options(command: argparse.ArgumentParser) -> None:
    """What report takes."""
    command.add_argument("folder", metavar="OUT/", help="a compiled folder")
    command.add_argument("-o", "--out", metavar="FILE.html", help="where to write the page; default: OUT/report.html")


def run(options: argparse.Namespace) -> int:
    """Write the page, and say where it is."""
    from bitsmith.report import write_report

    path = write_report(options.folder, options.out)
    say(options, [str(path)], {"report": str(path)})
    return 0


COMMANDS = (("report", "write the report of a compiled folder, one HTML page", add_options, run),)
