"""Jinja over the folders of templates/: a name that a template is not given is an error, never an empty text."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined


def environment(folder: str, *, escaped: bool = False) -> Environment:
    """The templates of a folder of templates/, by the names of their files. escaped: for HTML."""
    # PackageLoader cannot find the package where it is installed editable.
    place = files("bitsmith.templates") / folder
    return Environment(
        loader=FunctionLoader(lambda name: (place / name).read_text(encoding="utf-8")),
        autoescape=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
