"""What a pass works on: the model at its present stage, and all that is known about it so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bitsmith.allocation.problem import Solution
from bitsmith.dataset import Dataset
from bitsmith.errors import PipelineError
from bitsmith.ir.allocation import Allocation
from bitsmith.ir.formats import Plan
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.ir.moments import BatchNorms
from bitsmith.ir.quantizers import Adopted, Quantizers
from bitsmith.ir.sensitivity import Sensitivity
from bitsmith.ir.statistics import Statistics
from bitsmith.progress import Progress, silent
from bitsmith.target import Target

if TYPE_CHECKING:
    from bitsmith.manager import Pass

DISTILLED, NOISE = "distilled", "noise"
"""Where samples that no one measured come from: batch normalisations, or only a guess at the input."""


@dataclass
class Module:
    """A model on its way from float to integers.

    graph:       the float graph, which passes rewrite in place.
    target:      what the model is compiled for; passes ask it for legal bits and granularity.
    calibration: the samples that statistics are taken from, or those that a pass made up; None where there are none.
    input_ranges: by name of an input, its lowest and highest value, where the user said so.
    batch_norms: what batch normalisations said of activations; None until a pass records it.
    made_up:     DISTILLED or NOISE where no one measured the calibration samples; else None.
    seed:        of everything that draws random numbers.
    progress:    told how far a long piece of work is.
    allocation:  bits of single weights and activations, which go before the options of the passes that quantize.
    solution:    how that allocation was found; None where it was given.
    sensitivity: what bits of each weight and activation are expected to cost; None until a pass measures it.
    quantizers:  of a model that others quantized; None of a float one. adopted: what became of them.
    ahead:       the passes that follow the one that runs, for one that tries what would come of its choice.
    statistics, plan, integer: None until a pass makes them; `require_...` says which pass is missing.
    """

    graph: Graph
    target: Target
    calibration: Dataset | None = None
    seed: int = 0
    progress: Progress = field(default=silent)
    input_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    batch_norms: BatchNorms | None = None
    made_up: str | None = None
    statistics: Statistics | None = None
    allocation: Allocation | None = None
    solution: Solution | None = None
    sensitivity: Sensitivity | None = None
    quantizers: Quantizers | None = None
    adopted: Adopted | None = None
    plan: Plan = field(default_factory=Plan)
    integer: IntegerGraph | None = None
    ahead: tuple[Pass, ...] = ()

    def require_calibration(self) -> Dataset:
        """The calibration samples; PipelineError where there are none."""
        if self.calibration is None:
            raise PipelineError("this pipeline needs calibration data", fix="Give --calibration DATA.npz.")
        return self.calibration

    def require_statistics(self) -> Statistics:
        """The statistics; PipelineError where no pass took any."""
        if self.statistics is None:
            raise PipelineError(
                "a pass reads statistics that no pass before it took",
                fix="Put `calibrate` before it in the pipeline.",
            )
        return self.statistics

    def require_sensitivity(self) -> Sensitivity:
        """What bits are expected to cost; PipelineError where no pass measured it."""
        if self.sensitivity is None:
            raise PipelineError(
                "a pass reads sensitivities that no pass before it measured",
                fix="Put `measure-sensitivity` before it in the pipeline, or give --sensitivity.",
            )
        return self.sensitivity

    def require_quantizers(self) -> Quantizers:
        """The quantizers of a model that others quantized; PipelineError for a float one."""
        if self.quantizers is None:
            raise PipelineError(
                "the model is in float: there are no quantizers to adopt",
                fix="Leave `adopt-quantizers` out; `quantize-weights` and `quantize-activations` make formats.",
            )
        return self.quantizers

    def require_integer(self) -> IntegerGraph:
        """The integer graph; PipelineError where the pipeline made none."""
        if self.integer is None:
            raise PipelineError("the pipeline ends without an integer graph", fix="End the pipeline with `integerize`.")
        return self.integer
