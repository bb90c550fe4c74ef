"""`bitsmith --completion SHELL`: a script that lets a shell complete commands, options and files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any

SHELLS = ("bash", "zsh", "tcsh")

FILES = (".onnx", ".npz", ".json", ".toml")
"""What the names of arguments end in that are files; those of folders end in a slash."""


class PrintCompletion(argparse.Action):
    """Print the script and end."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Print the script for the shell that was named."""
        # Nothing else needs it.
        import shtab

        for one in (parser, *_commands(parser)):
            for action in one._actions:
                name = str(action.metavar or "")
                if name.endswith(FILES):
                    action.complete = shtab.FILE  # type: ignore[attr-defined]
                elif name.endswith("/"):
                    action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        sys.stdout.write(f"{shtab.complete(parser, str(values))}\n")
        parser.exit()


def _commands(parser: argparse.ArgumentParser) -> Iterable[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()
