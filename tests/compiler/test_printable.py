"""Text of others on a terminal, in JSON."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from bitsmith.printable import printable, printable_json, printable_line

TEXT = st.text(alphabet=st.characters(codec=None))


def steers(text: str) -> bool:
    """Whether something in it is a control, a mark of direction, a separator of lines or half a character."""
    return any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") or one in "\u202e\u2067\u200f" for one in text)


@given(TEXT)
def test_nothing_is_left_that_steers_a_terminal(text: str) -> None:
    assert not steers(printable(text))
    assert printable(printable(text)) == printable(text)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_letters_and_signs_of_all_scripts_are_left(text: str) -> None:
    assert printable(text) == text


def test_colours_are_left_in_a_line_and_nothing_else() -> None:
    assert (
        printable_line("\x1b[31mred\x1b[0m \x1b[2J\x1b]0;title\x07") == "\x1b[31mred\x1b[0m \\x1b[2J\\x1b]0;title\\x07"
    )


@given(TEXT)
def test_json_stays_what_it_is(text: str) -> None:
    value = {"name": [text]}
    printed = printable_json(json.dumps(value, indent=1, ensure_ascii=False))
    assert not steers(printed.replace("\n", ""))
    assert json.loads(printed) == value
