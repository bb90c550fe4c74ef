"""The page of installed targets, backend by backend, from their files and the backends' own docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import sys

from bitsmith import registry
from bitsmith.target import Target, installed_targets
from docs.generate.docstrings import markdown, plain

TOLD = ("name", "backend", "description")
"""Fields that a target's heading tells."""


def page() -> str:
    """One section a backend, with what it writes, and under it its targets."""
    installed = installed_targets()
    if installed.faults:
        raise next(iter(installed.faults.values()))
    parts = [
        "# Installed targets",
        "What `--target` takes by name; `bitsmith targets` lists them, with those that packages of yours bring. Each "
        "is a TOML file, and [one of your own](../target_files.md) serves as well. Bits are listed from the default "
        "on. Keys that a target's file leaves out are not shown.",
    ]
    for name in registry.names(registry.BACKENDS):
        backend = registry.find(registry.BACKENDS, name)
        module = inspect.getdoc(sys.modules[backend.__module__]) or ""
        how = "equals the integer graph in every element" if backend.exact else "may round ties to the other side"
        parts += [f"## Backend {name}", markdown(module), f"What it writes {how}."]
        parts += [_section(target) for target in installed.targets.values() if target.backend == name]
    return "\n\n".join(parts) + "\n"


def _value(target: Target, name: str) -> str:
    value = getattr(target, name)
    # Prices of what code is made of say nothing to a reader.
    return f"{len(value)} prices" if name == "code" and not isinstance(value, int) else _shown(value)


def _section(target: Target) -> str:
    rows = [
        f"| `{field.name}` | {_value(target, field.name)} |"
        for field in dataclasses.fields(target)
        if field.name not in TOLD and getattr(target, field.name) not in (None, (), {}, "", 0, False)
    ]
    head = f"### {target.name}\n\n{plain(target.description)}."
    return head + "\n\n" + "\n".join(["| key | value |", "| --- | --- |", *rows])


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value)
    if hasattr(value, "items"):
        return ", ".join(f"`{key} = {one}`" for key, one in value.items())
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
