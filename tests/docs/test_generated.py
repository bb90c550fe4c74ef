"""Pages that are generated hold all that they are generated from."""

import pytest

from bitsmith import registry
from bitsmith.cli.parser import build
from bitsmith.ir.legal import RULES
from bitsmith.target import installed_targets
from docs.generate import commands, operators, passes, targets
from docs.generate.docstrings import markdown


def headings(page: str, level: int) -> list[str]:
    mark = "#" * level + " "
    return [line.removeprefix(mark) for line in page.splitlines() if line.startswith(mark)]


def test_every_command_and_option_is_there() -> None:
    page = commands.page()
    _, parsers = build()
    assert headings(page, 2) == list(parsers)
    for section, (name, parser) in zip(page.split("\n## ")[1:], parsers.items(), strict=True):
        assert section.startswith(f"{name}\n")
        missing = {option for option in parser.options() if option not in section}
        assert missing <= {"-h", "--help"}
        assert f"bitsmith {name}" in section


def test_every_pass_is_there_with_its_options() -> None:
    page = passes.page()
    names = registry.names(registry.PASSES)
    assert headings(page, 2) == ["Default pipelines", *names]
    for section, name in zip(page.split("\n## ")[2:], names, strict=True):
        options = passes.options_of(registry.find(registry.PASSES, name))
        assert [option for option, _, _ in options if f"| `{option}` |" not in section] == []
        assert "`--verify-each`" in section or "may change" in section


def test_every_target_is_there_under_its_backend() -> None:
    page = targets.page()
    assert headings(page, 2) == [f"Backend {name}" for name in registry.names(registry.BACKENDS)]
    assert sorted(headings(page, 3)) == sorted(installed_targets().targets)
    for section in page.split("\n## Backend ")[1:]:
        backend = section.partition("\n")[0]
        for name in headings(section, 3):
            assert installed_targets().targets[name].backend == backend


def test_every_operator_of_the_normal_form_is_there_once() -> None:
    page = operators.page()
    assert [op for op in RULES if page.count(f"`{op}`") != 1] == []
    assert "`BatchNormalization`" in page.partition("## Brought to the normal form")[2]
    assert "`ConvTranspose`" in page.partition("## In place of others")[2]


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Fold y = a * b.", "Fold y = a \\* b."),
        ("Of `a * b` and [c].", "Of `a * b` and \\[c\\]."),
        ("name: what it is,\n    and more. a, b: both", "- `name`: what it is, and more.\n- `a`, `b`: both"),
        ("a: one; b: two.\nIt ends: here.", "- `a`: one\n- `b`: two. It ends: here."),
        ("a, b: both.\nc.d: < 3.", "- `a`, `b`: both.\n- `c.d`: &lt; 3."),
        ("As\n\n    y = a * b\n\nsays.", "As\n\n    y = a * b\n\nsays."),
        ("Formats: how integers stand for reals.", "Formats: how integers stand for reals."),
        ("As\n    y = a * b", "As\n\n    y = a * b"),
    ],
)
def test_docstrings_become_markdown(docstring: str, expected: str) -> None:
    assert markdown(docstring) == expected
