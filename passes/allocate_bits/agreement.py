"""How much accuracy an allocation's bits are expected to lose: what can be said of it without labels.

The float model's own probabilities stand in for the labels. Were each sample's label drawn from them, a class that is
given instead of the most likely one would lose the difference of their probabilities: one that was as good as tied
loses next to nothing, however often rounding tips it over.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bitsmith.allocation.diagnose import require_solution
from bitsmith.allocation.floors import Solver
from bitsmith.allocation.problem import LOSS, Problem, Solution
from bitsmith.allocation.program import solve
from bitsmith.errors import BudgetError, PipelineError
from bitsmith.execution.observe import fitting_batch
from bitsmith.execution.runtime import Session
from bitsmith.execution.simulate import simulated
from bitsmith.ir.formats import Format
from bitsmith.ir.fusion import before_host, materialised
from bitsmith.ir.graph import Graph
from bitsmith.manager import Pass
from bitsmith.module import Module
from bitsmith.passes.quantize_activations import QuantizeActivations
from bitsmith.passes.quantize_weights import QuantizeWeights

SAMPLES = 512
"""Calibration samples that are looked at, at most."""

BATCH = 16
TRIALS = 9
"""Allocations between the best and the cheapest that are tried."""


@dataclass(frozen=True)
class Found:
    """A solution, the accuracy that it is expected to lose, and the part of the samples that get another class."""

    solution: Solution
    lost: float
    changed: float


class Classes:
    """The classes that the float network gives some calibration samples, and what rounding makes of them.

    granularity, group: of the weights that have no format yet.
    Raises PipelineError for a model that does not give one score per class.
    """

    def __init__(self, module: Module, granularity: str, group: int) -> None:
        self._module = module
        self._granularity, self._group = granularity, group
        self._data = module.require_calibration().take(SAMPLES)
        self._scores = _scores(module.graph)
        scores = self._run({})
        self._wanted = scores.argmax(axis=1)
        self._probabilities = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
        self._weights_at: dict[float, Mapping[str, Format]] = {}
        self._activations_at: dict[float, Mapping[str, Format]] = {}

    @property
    def samples(self) -> int:
        """How many there are."""
        return len(self._wanted)

    def cheapest(self, problem: Problem, points: float, solver: Solver = solve) -> Found:
        """The solution of least cost that is expected to lose at most `points` percent of accuracy.

        Of solutions whose predicted loss is bounded, that is, since the loss that goes with so many points is found by
        bisection between the least there is and that of the cheapest solution of all. The solver is as
        `require_solution` takes it.
        """
        best = self._tried(require_solution(replace(problem, minimise=LOSS), solver))
        if best.lost > points / 100:
            raise BudgetError(
                f"{points:g} points cannot be kept by any bits: those that lose least are expected to lose "
                f"{100 * best.lost:.2g}, when rounded to nearest",
                fix="Give --max-loss more.",
            )
        worst = self._tried(require_solution(problem, solver))
        if worst.lost <= points / 100:
            return worst
        low, high = max(best.solution.loss, 1e-9 * worst.solution.loss), worst.solution.loss
        # The best need not be the cheapest that loses as little.
        kept = best
        for trial in range(TRIALS):
            self._module.progress("allocate bits", trial, TRIALS)
            middle = float(np.sqrt(low * high))
            bounded = replace(problem, limits={**problem.limits, LOSS: middle})
            found = self._tried(require_solution(bounded, solver))
            if found.lost <= points / 100:
                kept, low = found, middle
            else:
                high = middle
        self._module.progress("allocate bits", TRIALS, TRIALS)
        return kept

    def _tried(self, solution: Solution) -> Found:
        given = self._run(self._formats(solution)).argmax(axis=1)
        each = np.arange(self.samples)
        lost = self._probabilities[each, self._wanted] - self._probabilities[each, given]
        return Found(solution, float(lost.mean()), float((given != self._wanted).mean()))

    def _formats(self, solution: Solution) -> Mapping[str, Format]:
        """The formats that the solution's bits lead to: those there are, and nearest rounding of the rest."""
        chosen = solution.allocation
        return {
            **self._module.plan.formats,
            **{name: self._weights(bits)[name] for name, bits in chosen.weights.items()},
            **{name: self._activations(bits)[name] for name, bits in chosen.activations.items()},
        }

    def _weights(self, bits: float) -> Mapping[str, Format]:
        """The format of every weight at this width."""
        if bits not in self._weights_at:
            self._weights_at[bits] = self._planned(
                QuantizeWeights(
                    granularity=self._granularity, group=self._group, scales=self._module.target.scales
                ).of_width(bits)
            )
        return self._weights_at[bits]

    def _activations(self, bits: float) -> Mapping[str, Format]:
        """The format of every activation at this width."""
        if bits not in self._activations_at:
            self._activations_at[bits] = self._planned(
                QuantizeActivations(int(bits), int(bits), "mse", scales=self._module.target.scales)
            )
        return self._activations_at[bits]

    def _planned(self, one: Pass) -> Mapping[str, Format]:
        trial = replace(self._module, allocation=None)
        one.run(trial)
        return trial.plan.formats

    def _run(self, formats: Mapping[str, Format]) -> npt.NDArray[np.float64]:
        """The scores of all samples, (n, classes), of the network with its values on the grids of these formats."""
        with closing(simulated(self._module.graph, formats)) as copy:
            session = Session(copy, [self._scores])
        batches = self._data.batches(fitting_batch(materialised(self._module.graph), BATCH))
        return np.concatenate([session.run(batch)[self._scores].astype(np.float64) for batch in batches])


def _scores(graph: Graph) -> str:
    """The one output that has a score per class, or what a Softmax makes it of."""
    (first, *more) = graph.outputs
    inputs = {value.sample_shape for value in graph.inputs}
    if more or len(first.sample_shape) != 1 or first.sample_shape[0] < 2 or first.sample_shape in inputs:
        raise PipelineError(
            "a largest loss in points, for a model whose output is not one score per class",
            fix="Give budgets instead: --budget flash=64KiB.",
        )
    return before_host(first).name
