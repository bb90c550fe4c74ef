"""The templates of the report: every text that they are given is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment

from bitsmith.allocation.budgets import MEANING, shown
from bitsmith.jinja import environment as jinja_over
from bitsmith.report import texts


def fill(name: str, given: Mapping[str, Any]) -> str:
    """A template with everything put in, its last line ended."""
    return environment().get_template(name).render(given).rstrip("\n") + "\n"


@cache
def environment() -> Environment:
    """All templates of the report, by the names of their files."""
    made = jinja_over("report", escaped=True)
    made.filters.update(
        thousands=texts.thousands,
        bytes=texts.of_bytes,
        short=texts.short,
        decibels=texts.decibels_text,
        ratio=texts.ratio_text,
        grade=texts.grade,
        format_text=texts.format_text,
        shape=texts.shape_text,
        cost=shown,
        meaning=MEANING.__getitem__,
    )
    return made
