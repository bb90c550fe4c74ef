"""C as text: templates filled in, and the few forms that are put together from parts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment

from bitsmith.jinja import environment as jinja_over


@cache
def environment() -> Environment:
    """Jinja over templates/c."""
    jinja = jinja_over("c")
    jinja.globals.update(signed=signed, number=number, label=label)
    jinja.filters.update(plain=plain)
    return jinja


def render(template: str, context: Mapping[str, Any]) -> str:
    """A file of templates/c, filled in."""
    return environment().get_template(template).render(context)


def templates() -> Mapping[str, str]:
    """Every file of templates/c as it stands, by name."""
    place = files("bitsmith.templates") / "c"
    inner = {f"{one.name}/": one for one in place.iterdir() if one.is_dir()}
    return {
        f"{folder}{one.name}": one.read_text(encoding="utf-8")
        for folder, where in {"": place, **inner}.items()
        for one in where.iterdir()
        if one.name.endswith(".j2")
    }


def signed(number: int) -> str:
    """` + 3` or ` - 3`, empty for 0."""
    return f" + {number}" if number > 0 else f" - {-number}" if number < 0 else ""


def number(real: float) -> str:
    """A float32 as C writes it, less the f."""
    text = f"{real:.9g}"
    return text if "." in text or "e" in text else f"{text}.0"


def label(kind: str, values: Sequence[object], position: int) -> str:
    """What a parameter is called: `in` or `out`, or with a number where there are several."""
    return kind if len(values) == 1 else f"{kind}{position}"


def plain(text: str) -> str:
    """A name as a comment can hold it."""
    return re.sub(r"[^\w ./:;,()\[\]+-]", "_", text, flags=re.ASCII)


def tidy(text: str) -> str:
    """Without blanks at the end of lines, and with one empty line at most between two others."""
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def called(function: str, arguments: Sequence[str]) -> str:
    """The statement that calls a function."""
    return f"{function}({', '.join(arguments)});"


def placed(base: str, offset: int, ctype: str) -> str:
    """A pointer, as an argument, to elements so many bytes behind the int8_t pointer `base`."""
    return f"{base} + {offset}" if ctype == "int8_t" else f"(void *)({base} + {offset})"
