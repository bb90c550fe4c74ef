"""The command that compiles the same again, from what a compile was given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bitsmith.manifest import MANIFEST
from bitsmith.recipe import Recipe
from bitsmith.target import Target

PLAIN = ("pipeline", "effort", "weights", "activations", "edges", "granularity", "scales", "observer", "max_loss")
"""Fields of a recipe that are the text behind an option of their name."""

ITSELF = ("allocation", "sensitivity")
"""Fields that the manifest holds, and that are read from it again."""


def command(
    model: str | os.PathLike[str],
    target: Target | str | os.PathLike[str],
    calibration: str | os.PathLike[str] | None,
    recipe: Recipe,
    *,
    explain: bool = True,
) -> list[str]:
    """The words of the command: files by their names alone, a manifest for the one of the compiled folder.

    It is exact for whatever the command line can say. A recipe of Python that asks for symmetric_activations=False is
    the default in words, and a target that was made in Python is named as it is.
    """
    return ["bitsmith", "compile", Path(model).name, *_options(target, calibration, recipe, explain), "-o", "OUT/"]


def _options(
    target: Target | str | os.PathLike[str],
    calibration: str | os.PathLike[str] | None,
    recipe: Recipe,
    explain: bool,
) -> Iterator[str]:
    yield from ("--target", target.name if isinstance(target, Target) else Path(target).name)
    if calibration is not None:
        yield from ("--calibration", Path(calibration).name)
    if recipe.data_free:
        yield "--data-free"
    for name, (low, high) in recipe.input_ranges.items():
        yield from ("--input-range", f"{name}={low!r},{high!r}")
    for name, shape in recipe.input_shapes.items():
        yield from ("--input-shape", f"{name}={','.join(map(str, shape))}")
    for name in PLAIN:
        value = getattr(recipe, name)
        if value is not None:
            yield from (f"--{name.replace('_', '-')}", str(value))
    if recipe.symmetric_activations:
        yield "--symmetric-activations"
    if recipe.correct_biases:
        yield "--correct-biases"
    for name, limit in recipe.budgets.items():
        yield from ("--budget", f"{name}={int(limit) if limit == int(limit) else limit}")
    for kernel in recipe.kernels or ():
        yield from ("--kernel", kernel)
    for name in ITSELF:
        if getattr(recipe, name) is not None:
            yield from (f"--{name}", MANIFEST)
    yield from ("--seed", str(recipe.seed or 0))
    if not explain:
        yield "--no-explain"
