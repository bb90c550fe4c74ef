"""The examples that help shows, run as written; and completion, as a shell uses it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bitsmith.cli import main
from bitsmith.cli.examples import EXAMPLES, told
from bitsmith.cli.parser import COMMANDS, parse


def test_every_command_has_examples() -> None:
    assert set(EXAMPLES) == {name for module in COMMANDS for name, *_ in module.COMMANDS}


def test_examples_run_as_they_stand_and_are_json_for_programs(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(repository / "models")
    for lines in EXAMPLES.values():
        for line in lines.values():
            program, *arguments = shlex.split(line)
            assert program == "bitsmith"
            if arguments[0] == "search":
                # It compiles a dozen times, and has tests of its own.
                parse(arguments)
            else:
                assert main([*arguments, "--json"]) == 0, line
                said = capsys.readouterr()
                assert isinstance(json.loads(said.out), dict), line
                assert said.err == ""


def test_help_shows_them_so_that_they_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compile", "--help"])
    shown = capsys.readouterr().out
    assert shown.rstrip().endswith(told("compile"))
    pasted = shown.split("examples:")[1].replace("\\\n", "")
    lines = [" ".join(line.split()) for line in pasted.splitlines()]
    assert all(line in lines for line in EXAMPLES["compile"].values())
    assert max(map(len, told("compile").splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["comp"], ["compile"]),
        (["compile", "--calib"], ["--calibration"]),
        (["evaluate", "--da"], ["--data"]),
        (["check", "models/dig"], ["models/digits"]),
    ],
)
def test_a_shell_completes(words: list[str], offered: list[str], repository: Path) -> None:
    script = subprocess.run(
        [sys.executable, "-m", "bitsmith", "--completion", "bash"], capture_output=True, text=True, check=True
    ).stdout
    asked = f"""
        COMP_WORDS=(bitsmith {" ".join(words)}); COMP_CWORD={len(words)}; COMP_LINE="${{COMP_WORDS[*]}}"
        _shtab_bitsmith; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    bash = ["bash", "--norc", "-c", script + asked]
    done = subprocess.run(bash, capture_output=True, text=True, check=True, cwd=repository)
    assert done.stdout.split() == offered
