"""What one search is about: model, data, target and recipe, all by content, so that it can travel to any worker."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bitsmith.allocation.budgets import FLASH, MEAN_ACTIVATION_BITS, MEAN_WEIGHT_BITS, RAM
from bitsmith.errors import DataError, PipelineError
from bitsmith.importing.onnx_file import read_model
from bitsmith.ir.grids import TERNARY, TERNARY_BITS
from bitsmith.ir.sensitivity import Sensitivity
from bitsmith.metrics import METRICS, Mse, Sqnr, Top1
from bitsmith.recipe import Recipe
from bitsmith.recipe_file import MIXED
from bitsmith.registry import suggest
from bitsmith.search.point import Candidate
from bitsmith.target import Target
from bitsmith.windows import Window

VARIED: Mapping[str, tuple[str, ...]] = {
    FLASH: ("weights",),
    MEAN_WEIGHT_BITS: ("weights",),
    RAM: ("activations",),
    MEAN_ACTIVATION_BITS: ("activations",),
}
"""What a cost depends on, where it is not both."""


@dataclass(frozen=True)
class File:
    """A file by content; its name is kept, since manifests have it."""

    name: str
    content: bytes

    @classmethod
    def read(cls, path: Path) -> File:
        """The data file at a path; DataError where it cannot be read."""
        try:
            return cls(path.name, path.read_bytes())
        except OSError as reason:
            raise DataError(f"cannot be read: {reason.strerror}", where=str(path), fix="Check the path.") from reason

    @classmethod
    def read_model(cls, path: Path) -> File:
        """The model at a path; weights that it keeps in other files are taken into it."""
        model = read_model(path)
        content = path.read_bytes()
        inlined = model.ByteSize() > len(content)
        return cls(path.name, model.SerializeToString(deterministic=True) if inlined else content)

    def write(self, folder: Path) -> Path:
        """The path of the file, written into a folder of its own."""
        folder.mkdir()
        path = folder / self.name
        path.write_bytes(self.content)
        return path

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Job:
    """What all candidates of one search are measured with.

    recipe:  of every compile; where it says `mixed`, the bits of a candidate go. Without a sensitivity.
    metric:  one in which higher is better.
    choose_on: other data, on which candidates are compared; None for `data`. Where it has no labels, the comparison is
             by decibels against the float model.
    """

    model: File
    calibration: File | None
    data: File
    target: Target
    recipe: Recipe
    metric: str
    window: Window | None = None
    choose_on: File | None = None

    def recipe_for(self, candidate: Candidate) -> Recipe:
        """How to compile a candidate: by the one width that all have, as anyone would, else by its allocation."""
        legal = {"weights": self.target.weight_bits, "activations": self.target.activation_bits}
        mixed = [name for name in legal if getattr(self.recipe, name) == MIXED]
        if candidate.bits == TERNARY_BITS and mixed == ["weights"]:
            return replace(self.recipe, weights=TERNARY.kind)
        if candidate.bits is not None and all(candidate.bits in legal[name] for name in mixed):
            uniform: dict[str, Any] = dict.fromkeys(mixed, candidate.bits)
            return replace(self.recipe, **uniform)
        none: dict[str, Any] = dict.fromkeys(mixed)
        return replace(self.recipe, **none, allocation=candidate.allocation)

    def subject(self) -> dict[str, Any]:
        """What a folder of points must agree with, to be gone on with: digests of all that decides a measurement."""
        files = {"calibration": self.calibration, "data": self.data, "data to choose on": self.choose_on}
        return {
            "model": self.model.sha256,
            **{name: None if file is None else file.sha256 for name, file in files.items()},
            "target": self.target.to_json(),
            "recipe": digest(self.recipe),
            "metric": self.metric,
            "window": None if self.window is None else [self.window.size, self.window.stride],
            "version of bitsmith": version("bitsmith"),
        }


def mixing(recipe: Recipe, cost: str) -> Recipe:
    """The recipe with what is searched `mixed`: what it says is, or else what the cost depends on."""
    if recipe.pipeline is not None:
        raise PipelineError("a search chooses bits, and a pipeline says which", fix="Leave the pipeline out.")
    if recipe.allocation is not None or recipe.budgets or recipe.max_loss is not None:
        raise PipelineError(
            "a search takes no allocation, budget or largest loss",
            fix="They are for `bitsmith compile`: leave them out.",
        )
    if recipe.is_mixed:
        return recipe
    varied = VARIED.get(cost, ("weights", "activations"))
    free = [name for name in varied if getattr(recipe, name) is None]
    if not free:
        raise PipelineError(
            f"nothing that {cost} depends on may vary", fix=f"Leave --{varied[0]} out, or give --{varied[0]} mixed."
        )
    searched: dict[str, Any] = dict.fromkeys(free, MIXED)
    return replace(recipe, **searched)


def metric_for(given: str | None, has_labels: bool) -> str:
    """The metric to search by: the one that is given, or top1 with labels and decibels without."""
    name = given or (Top1.name if has_labels else Sqnr.name)
    if name not in METRICS:
        raise DataError(f"there is no metric {name}", where="--metric", fix=suggest(name, METRICS))
    if name == Mse.name:
        raise DataError(
            "mse is better where it is lower", where="--metric", fix="Search by sqnr, which is the other way."
        )
    if METRICS[name].needs_labels and not has_labels:
        raise DataError(f"{name} needs labels", where="--data", fix="Save them as y, one a sample.")
    return name


def digest(value: Recipe | Sensitivity | None) -> str | None:
    """The same for equal values."""
    return None if value is None else hashlib.sha256(repr(value).encode()).hexdigest()[:16]
