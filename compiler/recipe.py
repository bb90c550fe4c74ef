"""A recipe: how to compile, as data. From a TOML file, from options, or from both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from bitsmith.allocation.budgets import CYCLES, FLASH, RAM
from bitsmith.data_free import without_data
from bitsmith.errors import PipelineError
from bitsmith.ir.allocation import Allocation
from bitsmith.ir.sensitivity import Sensitivity
from bitsmith.legality import backend_of
from bitsmith.manager import Pipeline
from bitsmith.pipelines import ADOPT, Choice, Mixed, default, rest
from bitsmith.recipe_file import LIKE_INTEGERS, MIXED, READERS, WEIGHTS
from bitsmith.tables import read_table
from bitsmith.target import Target

KERNELS = "kernels"
"""The option of a target that names kernels, where its backend knows it."""

FUSED = {"Clip", "Relu"}
"""What `integerize` lets ride in a requantize step."""


@dataclass(frozen=True)
class Recipe:
    """What a compile does to a model; None leaves the choice to the target.

    pipeline:     the passes to run; None for the default ones, made from the options that follow.
    effort:       fast, default or best.
    weights:      bits, the name of a format in `WEIGHTS`, or `mixed`.
    activations:  bits, or `mixed`. edges: those of the graph's inputs and outputs; by default 8 at least.
    budgets:      limits by the names in allocation/budgets.py, for which mixed bits are chosen and all results checked.
    max_loss:     of mixed bits, how many points of accuracy they are expected to cost at most; the cheapest then.
    allocation:   bits of single weights and activations, in place of mixed ones.
    sensitivity:  what bits cost the outputs, where that was measured before.
    granularity:  of weight scales: `channel`, `tensor`, or `group=N`, with a multiplier for every N inputs.
    scales:       `free` or `power-of-two`.
    symmetric_activations: whether activations get zero point 0.
    observer:     how activation ranges are chosen: auto, min-max, percentile, mse or kl.
    correct_biases: whether biases make up for the rounding of weights of 8 bits too; of fewer they always do.
    data_free:    whether to make calibration inputs from what the model's batch normalisations remember.
    seed:         of everything that draws random numbers.
    kernels:      families of kernels that come first, and `NAME=FAMILY` for one operation; added to the target's own.
    input_ranges: by input name, its lowest and highest value, for compiles without data.
    input_shapes: by input name, the shape with its batch dimension; for models that leave dimensions open.
    """

    pipeline: str | None = None
    effort: str | None = None
    weights: int | str | None = None
    activations: int | str | None = None
    edges: int | None = None
    granularity: str | None = None
    scales: str | None = None
    symmetric_activations: bool | None = None
    observer: str | None = None
    correct_biases: bool | None = None
    budgets: Mapping[str, float] = field(default_factory=dict)
    max_loss: float | None = None
    allocation: Allocation | None = None
    sensitivity: Sensitivity | None = None
    data_free: bool | None = None
    seed: int | None = None
    kernels: tuple[str, ...] | None = None
    input_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Recipe:
        """The recipe in a TOML file, whose keys are the fields; PipelineError for what makes no sense."""
        values = read_table(path, READERS, PipelineError)
        recipe = cls(**values)
        recipe.refuse_contradiction(str(path))
        return recipe

    def overridden(self, other: Recipe) -> Recipe:
        """This recipe with whatever `other` says put in its place."""
        said = {one.name: getattr(other, one.name) for one in fields(self) if getattr(other, one.name) is not None}
        tables = ("input_shapes", "input_ranges", "budgets")
        merged = {name: {**getattr(self, name), **getattr(other, name)} for name in tables}
        return replace(self, **{**said, **merged})

    def refuse_contradiction(self, where: str = "") -> None:
        """Refuse options that a pipeline of the user's own would leave without effect."""
        given = [name for name in _CHOICES if getattr(self, name) is not None]
        if self.pipeline is not None and given:
            raise PipelineError(
                f"{given[0]} has no effect beside a pipeline",
                where=where,
                fix="Give it as an option of its pass: " + _CHOICES[given[0]] + ".",
            )

    def passes(self, target: Target) -> Pipeline:
        """The pipeline that this recipe makes for a target; PipelineError for bits it does not run."""
        self.refuse_contradiction()
        if CYCLES in self.budgets and not target.cycles:
            raise PipelineError(
                "a budget of cycles, where nothing says how many a multiply-accumulate takes",
                where=f"target {target.name}",
                fix="Leave it out, or give --target a file with `cycles`.",
            )
        chosen = Pipeline.parse(self.pipeline if self.pipeline is not None else self._default(target))
        return without_data(chosen) if self.data_free else chosen

    def adopting(self) -> Pipeline:
        """The pipeline for a model that others quantized; PipelineError for what cannot be asked of one."""
        given = [name for name in (*_CHOICES, "data_free", "allocation", "sensitivity") if getattr(self, name)]
        if given or self.input_ranges:
            name = (given or ["input_range"])[0].replace("_", "-")
            raise PipelineError(
                f"--{name} has no effect on a model that is quantized already",
                fix="Leave it out: the model keeps its own formats. Or give the float model.",
            )
        pipeline = Pipeline.parse(self.pipeline or ADOPT)
        if "adopt-quantizers" not in [one.name for one in pipeline.passes]:
            raise PipelineError(
                "the model is quantized already, and no pass of this pipeline takes its formats",
                fix=f"Put `adopt-quantizers` into it: by default it is {ADOPT}.",
            )
        return pipeline

    @property
    def is_mixed(self) -> bool:
        """Whether bits are to be chosen one by one."""
        return MIXED in (self.weights, self.activations)

    def limits(self, target: Target) -> dict[str, float]:
        """What the result must keep to: the budgets and, where bits are chosen, what the target has."""
        has = {FLASH: target.flash, RAM: target.ram} if self.is_mixed else {}
        return {**{name: float(size) for name, size in has.items() if size is not None}, **self.budgets}

    def applied(self, target: Target) -> Target:
        """The target with the RAM and the kernels that this recipe gives it; PipelineError where it takes none."""
        if RAM in self.budgets:
            target = replace(target, ram=int(self.budgets[RAM]))
        if not self.kernels:
            return target
        if KERNELS not in backend_of(target).options:
            raise PipelineError(
                f"the backend {target.backend} has no kernels to choose from", where=f"target {target.name}"
            )
        asked = ", ".join([*filter(None, [str(target.options.get(KERNELS, ""))]), *self.kernels])
        return replace(target, options={**target.options, KERNELS: asked})

    def _refuse_aimless_mixing(self, target: Target) -> None:
        """Refuse mixed bits that nothing bounds, and bounds of mixed bits where there are none."""
        if not self.is_mixed and self.max_loss is not None:
            raise PipelineError(
                "a largest loss, where no bits are chosen", fix="Give --weights mixed, --activations mixed, or both."
            )
        if self.is_mixed and self.allocation is not None:
            raise PipelineError("mixed bits, and an allocation that settles them", fix="Give one or the other.")
        if self.is_mixed and self.max_loss is None and not self.limits(target):
            raise PipelineError(
                "mixed bits without a budget", fix="Give --budget flash=64KiB, --budget ram=32KiB, or --max-loss 1.0."
            )

    def _default(self, target: Target) -> str:
        self._refuse_aimless_mixing(target)
        if set(target.fused) != FUSED:
            raise PipelineError(
                f"the default passes fuse {' and '.join(sorted(FUSED))}",
                where=f"target {target.name}",
                fix="Give --pipeline with passes that do what this target asks for.",
            )
        if self.symmetric_activations is False and target.symmetric_activations:
            raise PipelineError("activations must be symmetric", where=f"target {target.name}")
        if self.scales == "free" and target.scales != "free":
            raise PipelineError("scales must be powers of two", where=f"target {target.name}")
        mixed = Mixed(self.weights == MIXED, self.activations == MIXED, self.limits(target), self.max_loss)
        bits, format = self._weights(target)
        _chosen("weights", format, target.weight_formats, target)
        weights = _chosen("weights", bits, target.weight_bits, target)
        activations = rest(target.activation_bits) if mixed.activations else self.activations
        activations = _chosen("activations", activations, target.activation_bits, target)
        granularity = self.granularity or target.granularities[0]
        _chosen("granularity", granularity.partition("=")[0], target.granularities, target)
        if format != "int" and granularity.startswith("group"):
            raise PipelineError(f"{self.weights} weights in groups", fix="Groups are of integers: give bits.")
        single = Allocation() if self.allocation is None else self.allocation
        # What an allocation is compiled with must not depend on its bits, or it would not be what was chosen.
        widths = target.weight_bits if mixed.weights or single.weights else (weights,)
        ranges = target.activation_bits if mixed.activations or single.activations else (activations,)
        return default(
            Choice(
                effort=self.effort or "default",
                weights=f"bits={weights}" + ("" if format == "int" else f",format={format}"),
                weight_bits=weights,
                narrowest_weight=min([*widths, *([] if format in LIKE_INTEGERS else [6])]),
                narrowest_activation=min(ranges),
                granularity=granularity,
                scales=self.scales or target.scales,
                activations=activations,
                edges=0 if self.edges is None else _chosen("edges", self.edges, target.activation_bits, target),
                symmetric=bool(self.symmetric_activations or target.symmetric_activations),
                observer=self.observer,
                correct=bool(self.correct_biases),
                learn=not self.data_free,
                mixed=mixed,
                measure=self.sensitivity is None,
            )
        )

    def _weights(self, target: Target) -> tuple[int | None, str]:
        """Bits and format of weights; of mixed ones, the bits of those that no allocation will name."""
        if self.weights == MIXED:
            return rest(target.weight_bits), "int"
        return WEIGHTS[self.weights] if isinstance(self.weights, str) else (self.weights, "int")


_CHOICES = {
    "effort": "reconstruct{solver=...}",
    "weights": "quantize-weights{bits=...}",
    "activations": "quantize-activations{bits=...}",
    "edges": "quantize-activations{edges=...}",
    "granularity": "quantize-weights{granularity=...}",
    "scales": "quantize-weights{scales=...}",
    "symmetric_activations": "quantize-activations{symmetric=...}",
    "observer": "quantize-activations{observer=...}",
    "correct_biases": "correct-biases",
    "max_loss": "allocate-bits{max_loss=...}",
}


def _chosen(name: str, wanted: Any, legal: tuple[Any, ...], target: Target) -> Any:
    if wanted is None:
        return legal[0]
    if wanted not in legal:
        raise PipelineError(
            f"{name} {wanted} is not what it runs",
            where=f"target {target.name}",
            fix=f"It runs {name} {' or '.join(map(str, legal))}.",
        )
    return wanted
