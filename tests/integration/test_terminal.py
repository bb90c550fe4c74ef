"""What someone at a terminal sees: colour, progress that is wiped, one line for Ctrl-C. And what a program gets."""

from __future__ import annotations

import json
import os
import pty
import select
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.conftest import Run

CTRL_C = b"\x03"
RED = "\x1b[31m"


def at_terminal(
    *arguments: object, keys: Mapping[str, bytes] | None = None, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a command at a terminal of its own; the exit code, and all that appeared.

    keys: what to type as soon as a text has appeared.
    """
    command = [sys.executable, "-m", "bitsmith", *map(str, arguments)]
    waiting = dict(keys or {})
    process, terminal = pty.fork()
    if process == 0:
        os.execve(command[0], command, {**os.environ, "TERM": "xterm", "COLUMNS": "100", **(environment or {})})
    shown = b""
    try:
        while True:
            select.select([terminal], [], [], 60)
            try:
                part = os.read(terminal, 1 << 16)
            except OSError:
                # Linux says so when the other end is closed.
                break
            if not part:
                break
            shown += part
            for text in [text for text in waiting if text.encode() in shown]:
                os.write(terminal, waiting.pop(text))
    finally:
        os.close(terminal)
        _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), shown.decode()


def screen(shown: str) -> list[str]:
    """The lines that are left on the terminal, once all has been overwritten that is."""
    lines = []
    for line in shown.replace("\r\n", "\n").split("\n"):
        cells: list[str] = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return [line for line in lines if line]


@pytest.fixture
def command(digits: Path, tmp_path: Path) -> list[object]:
    data = digits / "calibration.npz"
    return ["compile", digits / "digits.onnx", "--target", "onnxruntime", "--calibration", data, "-o", tmp_path / "out"]


def test_a_terminal_shows_the_passes_in_colour_and_others_get_none_of_it(
    command: list[object], tmp_path: Path, bitsmith_process: Run
) -> None:
    code, shown = at_terminal(*command, environment={"NO_COLOR": ""})
    assert code == 0
    assert any(line.startswith("  fold-batch-norm") for line in screen(shown))
    assert "\x1b[1m" in shown
    assert "\x1b[32m" in shown
    piped = bitsmith_process(*command)
    assert (piped.code, piped.err) == (0, "")
    assert "\x1b" not in piped.out
    assert str(tmp_path / "out") in piped.out


def test_a_program_gets_json_alone_and_no_colour_where_none_is_wanted(command: list[object]) -> None:
    code, shown = at_terminal(*command, "--json", environment={"NO_COLOR": "1"})
    assert code == 0
    assert json.loads(shown)["target"]["name"] == "onnxruntime"


def test_ctrl_c_leaves_one_line_and_no_folder(command: list[object], with_wait: dict[str, str], tmp_path: Path) -> None:
    environment = {**with_wait, "NO_COLOR": ""}
    waits = [*command, "--pipeline", "fold-constants,wait,integerize"]
    code, shown = at_terminal(*waits, keys={"waiting to be interrupted": CTRL_C}, environment=environment)
    assert code == 130
    assert screen(shown)[-1].endswith(f"{RED}bitsmith:\x1b[0m interrupted; nothing was written")
    assert sum("interrupted" in line for line in screen(shown)) == 1
    assert "Traceback" not in shown
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["verify", "nowhere"], {"where": "nowhere", "what": "there is no such folder", "exit_code": 2}),
        (["verify", __file__], {"where": __file__, "what": "is a file, not a folder", "exit_code": 2}),
        (["evaluate", "--json"], {"what": "the following arguments are required: MODEL.onnx|OUT/, --data"}),
        (["compil"], {"what": "there is no command compil", "fix": "Did you mean compile?"}),
    ],
)
def test_errors_are_json_too(bitsmith: Run, arguments: list[str], parts: dict[str, object]) -> None:
    said = bitsmith(*arguments, "--json")
    error = json.loads(said.out)["error"]
    assert {name: error[name] for name in parts} == parts
    assert error["exit_code"] == said.code == 2
    assert said.err.startswith("bitsmith: ")
    assert said.err.count("\n") == 1
