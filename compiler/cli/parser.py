"""What the command line takes, and one clear line about what it does not."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import NoReturn

from bitsmith.cli import check, compile, evaluate, listing, report, search, verify
from bitsmith.cli.completion import SHELLS, PrintCompletion
from bitsmith.cli.examples import told
from bitsmith.errors import BitsmithError
from bitsmith.registry import suggest

Command = Callable[[argparse.Namespace], int]

COMMANDS = (compile, check, evaluate, verify, search, report, listing)


class UsageError(BitsmithError):
    """A command line that makes no sense."""


class Parser(argparse.ArgumentParser):
    """argparse, but its complaints are errors of one line that suggest the nearest option."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError for a complaint of argparse."""
        choice = re.fullmatch(
            r"argument (?P<what>\S+): invalid choice: '(?P<got>.*)' \(choose from (?P<of>.*)\)", message
        )
        if choice is not None:
            known = [one.strip("' ") for one in choice["of"].split(",")]
            raise UsageError(f"there is no {choice['what'].lower()} {choice['got']}", fix=suggest(choice["got"], known))
        has_advice = message.endswith("?")
        raise UsageError(message, fix="" if has_advice else f"`{self.prog} --help` says what it takes.")

    def options(self) -> list[str]:
        """Every option there is, as it is written."""
        return [text for action in self._actions for text in action.option_strings]


def parse(arguments: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """The command that the arguments name, and its options; UsageError if they make no sense."""
    parser, commands = build()
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    if arguments and arguments[0] == name and name not in commands:
        # Its options are those of the command that is meant, so nothing is to be said of them.
        raise UsageError(f"there is no command {name}", fix=suggest(name, commands))
    chosen = commands.get(name or "", parser)
    # argparse would first complain of what is missing, and hide the misspelled option that is the reason.
    _refuse_unknown(arguments, chosen, {*chosen.options(), *parser.options()})
    options = parser.parse_args(list(arguments))
    if options.command is None:
        raise UsageError("no command is given", fix=f"One of {', '.join(commands)}; `bitsmith --help` says more.")
    run: Command = options.run
    return run, options


def _refuse_unknown(arguments: Sequence[str], parser: Parser, known: set[str]) -> None:
    for argument in arguments:
        if argument == "--":
            return
        option = argument.split("=")[0]
        is_option = re.match(r"--?[A-Za-z]", argument) is not None
        if is_option and option not in known and (option.startswith("--") or argument[:2] not in known):
            raise UsageError(f"{parser.prog} does not take {option}", fix=suggest(option, known))


def build() -> tuple[Parser, dict[str, Parser]]:
    """The parser, and those of the commands by name."""
    parser = Parser(
        prog="bitsmith",
        description="Compile trained float32 ONNX models into verified integer artifacts for small machines.",
        epilog="Exit codes: 0 done; 1 the artifact failed a check or a budget; 2 the input is wrong; 130 interrupted.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"bitsmith {version('bitsmith')}")
    parser.add_argument(
        "--completion",
        action=PrintCompletion,
        choices=SHELLS,
        metavar="|".join(SHELLS),
        help='print what lets a shell complete commands: eval "$(bitsmith --completion bash)"',
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    commands: dict[str, Parser] = {}
    for module in COMMANDS:
        for name, summary, add_options, run in module.COMMANDS:
            command = subparsers.add_parser(
                name,
                help=summary,
                description=summary,
                epilog=told(name),
                formatter_class=argparse.RawDescriptionHelpFormatter,
                allow_abbrev=False,
            )
            command.add_argument(
                "--json", action="store_true", help='print the result as JSON, or {"error": ...}, and nothing else'
            )
            command.add_argument("--quiet", action="store_true", help="print nothing but errors (and JSON)")
            add_options(command)
            command.set_defaults(run=run)
            commands[name] = command
    return parser, commands
