"""What pages claim: their examples run, their keys exist, their commands are what the command line takes."""

import doctest
import json
import re
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

import bitsmith.errors
from bitsmith.cli import main
from bitsmith.cli.parser import UsageError, parse
from bitsmith.errors import BitsmithError
from bitsmith.manager import Pipeline
from bitsmith.recipe import Recipe
from bitsmith.recipe_file import READERS
from bitsmith.target import Target, read_target
from tests.docs.pages import ELSEWHERE, PAGES, ROOT, Block, blocks, commands

_SAID = blocks("console")


def of(name: str) -> str:
    (page,) = [page for page in PAGES if page.name == name]
    return page.read_text(encoding="utf-8")


def terms(page: str) -> set[str]:
    """What a page's definition lists define."""
    lines = re.findall(r"^(`\w+`(?:, `\w+`)*)\n: ", page, re.MULTILINE)
    return {term for line in lines for term in re.findall(r"\w+", line)}


def test_worked_examples_come_out_as_they_stand() -> None:
    found = blocks("pycon")
    # One page is one session.
    text = "\n".join(block.text for block in found)
    test = doctest.DocTestParser().get_doctest(text, {}, "pages", None, 0)
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert {block.page for block in found} == {"integers.md"}
    assert len(test.examples) > 15
    assert "".join(said) == ""


@pytest.mark.parametrize("block", _SAID, ids=[block.text.split("\n")[0][2:70] for block in _SAID])
def test_messages_are_what_is_said(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    line, _, expected = block.text.partition("\n")
    assert main([*shlex.split(line)[2:], *(["--quiet"] if " compile " in line else [])]) == 2
    told = capsys.readouterr()
    assert told.out + told.err == expected


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: f"{block.page} {block.title}")
def test_toml_is_what_is_read(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "example.toml"
    file.write_text(block.text, encoding="utf-8")
    if block.page in ("fpga.md", "target_files.md"):
        assert read_target(file).backend == tomllib.loads(block.text)["backend"]
    else:
        recipe = Recipe.read(file)
        assert block.page == "recipes.md"
        assert recipe != Recipe()
        if recipe.pipeline is not None:
            assert Pipeline.parse(recipe.pipeline).passes


def test_every_key_of_a_recipe_is_told_of_and_no_other() -> None:
    assert terms(of("recipes.md")) == set(READERS)


def test_every_key_of_a_target_is_told_of_and_no_other() -> None:
    page = of("target_files.md")
    assert terms(page) == {field.name for field in fields(Target)}
    for field in fields(Target):
        if isinstance(field.default, tuple) and field.default:
            # Written as JSON, a list is what it is in TOML.
            assert f"By default `{json.dumps(field.default)}`" in page, field.name


def shells() -> list[tuple[str, str]]:
    """Every command that a page shows, and where."""
    found = [(block.page, line) for block in blocks("sh", pages=[*PAGES, *ELSEWHERE]) for line in commands(block.text)]
    for page in ELSEWHERE:
        lines = page.read_text(encoding="utf-8").splitlines()
        indented = "\n".join(line[4:] for line in lines if line.startswith("    "))
        found += [(page.name, line) for line in commands(indented)]
    return found


def test_every_command_is_one_that_the_command_line_takes() -> None:
    found = shells()
    assert len(found) > 20
    refused = {}
    for page, line in found:
        try:
            parse(shlex.split(line)[1:])
        except BitsmithError as fault:
            # Files that an earlier command of the page writes are not there.
            if "cannot be read: No such file" not in fault.what:
                refused[page, line] = str(fault)
    assert refused == {}


def kinds(of_kind: type[BitsmithError]) -> list[type[BitsmithError]]:
    found = of_kind.__subclasses__()
    return found + [below for one in found for below in kinds(one)]


def test_every_kind_of_error_is_told_of_with_its_exit_code() -> None:
    page = of("errors.md")
    ours = [one for one in kinds(BitsmithError) if one.__module__ in (bitsmith.errors.__name__, UsageError.__module__)]
    assert len(ours) > 5
    assert [one.__name__ for one in ours if f"| `{one.__name__}` | {one.exit_code} |" not in page] == []
