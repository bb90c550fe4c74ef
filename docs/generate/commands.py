"""The page of commands, from the parser that reads them."""

from __future__ import annotations

import argparse
from functools import partial

from bitsmith.cli.examples import EXAMPLES, told
from bitsmith.cli.parser import build
from docs.generate.docstrings import plain

WIDTH = 76


def page() -> str:
    """One section a command: what it is for, its usage, every argument, and its examples."""
    parser, commands = build()
    parts = [
        "# Commands",
        f"{plain(parser.description or '')} Results go to standard output, progress and errors to standard error. "
        "What is here is what `bitsmith COMMAND --help` prints.",
        _arguments(parser, but="COMMAND"),
        "Every command also takes `--json`, which prints the result as JSON, and `--quiet`. "
        "[Exit codes](../errors.md#exit-codes) are the same for all.",
    ]
    for name, command in commands.items():
        parts += [_section(name, command)]
    return "\n\n".join(parts) + "\n"


def _section(name: str, command: argparse.ArgumentParser) -> str:
    command.formatter_class = partial(argparse.RawDescriptionHelpFormatter, width=WIDTH)
    usage = command.format_usage().removeprefix("usage: ").rstrip()
    sentence = (command.description or "").rstrip(".")
    parts = [
        f"## {name}",
        f"{plain(sentence[:1].upper() + sentence[1:])}.",
        f"```text\n{usage}\n```",
        _arguments(command),
    ]
    if name in EXAMPLES:
        parts += ["Examples, which work as they stand in a clone of the repository:", _examples(name)]
    return "\n\n".join(part for part in parts if part)


def _examples(name: str) -> str:
    """As the help has them, purposes as comments."""
    lines = [line.removeprefix("    ") for line in told(name).splitlines()[1:]]
    told_of = [line.startswith("  ") and line.endswith(":") for line in lines]
    shown = [f"# {line.strip(' :')}" if is_purpose else line for line, is_purpose in zip(lines, told_of, strict=True)]
    return "```sh\n" + "\n".join(shown) + "\n```"


def _arguments(parser: argparse.ArgumentParser, but: str = "") -> str:
    """A definition for every argument, group by group."""
    formatter = argparse.HelpFormatter(parser.prog)
    parts: list[str] = []
    for group in parser._action_groups:
        shown = [
            action
            for action in group._group_actions
            if action.help not in (None, argparse.SUPPRESS) and action.metavar != but and action.dest not in SHARED
        ]
        if shown and group.title not in ("positional arguments", "options"):
            parts.append(f"**{plain(str(group.title)).capitalize()}**")
        for action in shown:
            parts.append(f"`{_written(action)}`\n:   {plain(formatter._expand_help(action))}")
    return "\n\n".join(parts)


SHARED = ("help", "json", "quiet")
"""Options that are told of once."""


def _written(action: argparse.Action) -> str:
    """An argument as it is typed."""
    if not action.option_strings:
        return str(action.metavar or action.dest)
    names = ", ".join(action.option_strings)
    return names if action.nargs == 0 else f"{names} {action.metavar or action.dest.upper()}"
