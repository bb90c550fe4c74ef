"""Choose the bits of every weight and activation that has no format yet, for the budgets that there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from bitsmith import registry
from bitsmith.allocation.budgets import BUDGETS, CODE, FLASH, RAM, RESERVE, limit
from bitsmith.allocation.build import problem_for
from bitsmith.allocation.costs import Layout
from bitsmith.allocation.diagnose import require_solution
from bitsmith.allocation.floors import Solver, above, floors
from bitsmith.allocation.measured import require_within
from bitsmith.allocation.problem import Cost, Problem, Solution, within
from bitsmith.allocation.program import solve
from bitsmith.allocation.reference import as_told
from bitsmith.errors import BudgetError, PipelineError
from bitsmith.legality import backend_of
from bitsmith.manager import Changes, Pass
from bitsmith.module import Module
from bitsmith.passes.allocate_bits.agreement import Classes
from bitsmith.passes.allocate_bits.trials import affordable, nearest, spaced

ATTEMPTS = 4
"""Times that bits are chosen anew where the backend says that the last choice takes more than was predicted."""


@dataclass(frozen=True)
class AllocateBits(Pass):
    """Minimise the predicted loss within budgets, or a cost within a largest loss, by an integer linear program.

    What `measure-sensitivity` found each weight and each group of activations to lose at each width adds up to the
    loss; flash, memory at every step, bit operations and cycles are exact (compiler/allocation). What has a format
    when this pass runs stays as it is; inputs and outputs get `edges` bits. (Hubara et al. 2020, arXiv:2006.10518,
    section 3.3; Yao et al. 2021, HAWQ-V3, arXiv:2011.10680, section 3.4.)

    Sums of losses that were measured one by one say too little of what many narrow widths do to each other. So the
    best that is predicted is tried against those that are predicted with narrow widths left out, one floor after
    another up to the widest uniform allocation that fits: each is compiled by the passes that follow. The last, which
    has nowhere fewer bits than that uniform one, is taken unless others come surely nearer to the float network on the
    calibration data; then the nearest is.

    flash, ram: such as 64KiB. bops, cycles, luts: such as 2G. mean_weight_bits, mean_activation_bits: such as 3.5.
    max_loss:    how many points of accuracy may be lost. Labels are not at hand, so it is what the float model's own
                 probabilities expect to be lost on some calibration samples by classes that are given instead of the
                 most likely ones. Weights and activations are rounded to nearest for that, without learned rounding,
                 which gives part of it back. The cheapest allocation is looked for along those that lose least at
                 each cost.
    minimise:    with max_loss, the cost to minimise: flash, ram, bops, cycles, or mean bits; by default flash, or ram
                 where all weights have formats.
    granularity: of the scales that weights will have. group: how many inputs will share a multiplier.
    edges:       bits of the graph's inputs and outputs; 0 for 8.
    trials:      allocations that are compiled to be compared, at most; 1 to take what is predicted. Not with max_loss.
    """

    name: ClassVar[str] = "allocate-bits"

    flash: str = ""
    ram: str = ""
    bops: str = ""
    cycles: str = ""
    luts: str = ""
    mean_weight_bits: str = ""
    mean_activation_bits: str = ""
    max_loss: float | None = None
    minimise: str = ""
    granularity: str = "channel"
    group: int = 0
    edges: int = 0
    trials: int = 4

    def run(self, module: Module) -> Changes:
        if self.trials < 1:
            raise PipelineError(f"trials={self.trials}", where=f"pass {self.name}", fix="Give 1 or more.")
        problem = problem_for(module, self._limits(), Layout(self.granularity, self.group), edges=self.edges)
        changes = Changes()
        found = self._chosen(module, problem, changes)
        module.allocation, module.solution = found.allocation, found
        for group in problem.groups:
            if not group.settled:
                changes.change(group.name)
        for line in _notes(problem, found):
            changes.note(line)
        return changes

    def _chosen(self, module: Module, problem: Problem, changes: Changes) -> Solution:
        """What is predicted to be best, or what comes out best of those that are tried."""
        points = self.max_loss is not None

        def known(one: Problem) -> Solution | None:
            return self._settled(module, one, solve, reserve=False)

        def cheapest(one: Problem) -> Solution | None:
            try:
                return self._cheapest(module, one, changes, solve)
            except BudgetError:
                # Told below, if it is so by what is known as well, and with nothing kept back.
                return None

        best = self._settled(module, problem, cheapest if points else solve)
        if best is None or not _keeps(best, problem):
            # A budget that leaves nothing to keep back is not for that one that cannot be kept.
            if points:
                best = self._cheapest(module, problem, changes, known)
            else:
                best = require_solution(problem, known)
                if best.minimise != problem.minimise:
                    changes.note(f"of all that was tried, only what takes the least {best.minimise} keeps the budgets")
        require_within(best.costs, problem.limits)
        count = affordable(module, self.trials)
        if points or count < 2:
            return best
        higher = [floor for floor, _ in floors(self._reserved(problem), solve)][1:]
        others = (self._settled(module, above(problem, floor), solve) for floor in higher)
        candidates = spaced([best, *(one for one in others if one is not None and _keeps(one, problem))], count)
        return nearest(module, candidates, changes) if len(candidates) > 1 else best

    def _reserved(self, problem: Problem) -> Problem:
        """The problem with a little more to be had for what is estimated."""
        dearer = {
            name: Cost(tuple(row.times(1 / (1 - RESERVE[name])) for row in problem.costs[name].rows))
            for name in RESERVE.keys() & problem.limits.keys()
        }
        if FLASH in problem.limits and CODE in problem.costs:
            (flash,), (code,) = problem.costs[FLASH].rows, problem.costs[CODE].rows
            # A figure that the target's file gives is what it is.
            dearer[FLASH] = Cost((flash.plus(code.times(RESERVE[CODE])) if code.singles else flash,))
        return replace(problem, costs={**problem.costs, **dearer}) if dearer else problem

    def _settled(
        self,
        module: Module,
        problem: Problem,
        find: Callable[[Problem], Solution | None],
        *,
        reserve: bool = True,
    ) -> Solution | None:
        """What is found that keeps to the limits by what the backend says of it, too, with the costs that it says.

        reserve: whether to keep something back of what is estimated. After `ATTEMPTS` it is given as it is.
        """
        layout, backend = Layout(self.granularity, self.group), backend_of(module.target)
        told, settled = problem, None
        for _ in range(ATTEMPTS):
            found = find(self._reserved(told) if reserve else told)
            if found is None:
                return None
            told = as_told(told, module, layout, backend, found.bits)
            settled = replace(found, costs=told.costs_at(found.bits), limits=problem.limits)
            if (self._reserved(told) if reserve else told).allows(found.bits):
                break
        return settled

    def _limits(self) -> dict[str, float]:
        limits = {}
        for name in BUDGETS:
            given = getattr(self, name.replace("-", "_"))
            if given:
                try:
                    limits[name] = limit(name, given)
                except ValueError as reason:
                    raise PipelineError(str(reason), where=f"pass {self.name}") from None
        if not limits and self.max_loss is None:
            raise PipelineError("no budget", where=f"pass {self.name}", fix="Give it flash=64KiB, or max_loss=1.0.")
        if self.minimise and (self.minimise not in BUDGETS or self.max_loss is None):
            fix = registry.suggest(self.minimise, BUDGETS) if self.max_loss is not None else "Give max_loss too."
            raise PipelineError(f"minimise={self.minimise}", where=f"pass {self.name}", fix=fix)
        return limits

    def _cheapest(self, module: Module, problem: Problem, changes: Changes, solver: Solver) -> Solution:
        """The cheapest allocation that is expected to lose few enough points."""
        open_weights = any(group.is_weight and not group.settled for group in problem.groups)
        cost = self.minimise or (FLASH if open_weights else RAM)
        classes = Classes(module, self.granularity, self.group)
        found = classes.cheapest(replace(problem, minimise=cost), self.max_loss or 0.0, solver)
        changes.note(
            f"{100 * found.lost:.2g} of {self.max_loss:g} points are expected to be lost when rounded to nearest, on "
            f"{classes.samples} calibration samples; {100 * found.changed:.1f} % of them get another class"
        )
        return found.solution


def _keeps(found: Solution, problem: Problem) -> bool:
    return all(within(found.costs[name], limit) for name, limit in problem.limits.items())


def _notes(problem: Problem, found: Solution) -> Iterator[str]:
    """What was chosen, in a few lines."""
    for is_weight, what in ((True, "weights"), (False, "activations")):
        chosen = [found.bits[one.name] for one in problem.groups if one.is_weight == is_weight and not one.settled]
        if chosen:
            counts = ", ".join(f"{count} of {bits} bits" for bits, count in sorted(Counter(chosen).items()))
            yield f"{what}: {counts}"
    yield f"predicted loss {found.loss:.3g} nats, {found.status}"
    if found.tried:
        each = ", ".join(f"{one.nats:.3g} nats from {one.narrowest} bits on" for one in found.tried)
        yield f"tried {len(found.tried)}: {each}"
