"""The problem that a graph, a target, a sensitivity and budgets make together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bitsmith.allocation.budgets import CYCLES, LUTS
from bitsmith.allocation.costs import Layout, costs_of, vetoes_of
from bitsmith.allocation.groups import groups_of
from bitsmith.allocation.problem import LOSS, Cost, Group, Problem, Row
from bitsmith.allocation.reference import as_stored
from bitsmith.errors import PipelineError
from bitsmith.ir.formats import Plan
from bitsmith.ir.graph import Graph
from bitsmith.ir.sensitivity import Losses, Sensitivity
from bitsmith.legality import backend_of
from bitsmith.module import Module
from bitsmith.registry import suggest
from bitsmith.target import Target

UNTOLD = {
    CYCLES: (
        "target {target} does not say how many cycles a multiply-accumulate takes",
        "Leave the budget of cycles out, or give --target a file with `cycles`.",
    ),
    LUTS: (
        "nothing is known of the look-up tables of target {target}",
        "Leave the budget of luts out, or give --target one for FPGAs that has no multipliers, such as rtl.",
    ),
}
"""Costs that not every target has: why one has not, and what to do."""


def problem_for(
    module: Module, limits: Mapping[str, float], layout: Layout, *, edges: int = 0, minimise: str = LOSS
) -> Problem:
    """`problem_of` a module, with flash, RAM and look-up tables as its target's backend would have them.

    The module is calibrated, and its sensitivity measured or given.
    """
    sensitivity = module.require_sensitivity()
    problem = problem_of(module.graph, module.target, sensitivity, {}, plan=module.plan, layout=layout, edges=edges)
    return _within(as_stored(problem, module, layout, backend_of(module.target)), module.target, limits, minimise)


def problem_of(
    graph: Graph,
    target: Target,
    sensitivity: Sensitivity,
    limits: Mapping[str, float],
    *,
    plan: Plan | None = None,
    layout: Layout | None = None,
    edges: int = 0,
    minimise: str = LOSS,
) -> Problem:
    """The widths of a float graph in normal form, what they cost, and what they may.

    limits:   by the names of allocation/budgets.py, and LOSS for the loss.
    plan:     formats that were decided before and stay as they are.
    layout:   how weights without a format will be stored.
    edges:    bits of inputs and outputs; 0 for 8.
    minimise: LOSS, or the name of a cost.
    Raises PipelineError for a weight or an activation that is not settled and whose losses are not known.
    """
    plan = plan or Plan()
    layout = layout or Layout()
    groups = groups_of(graph, plan, target, sensitivity, edges, layout.group)
    costs = costs_of(graph, target, groups, plan, layout)
    costs[LOSS] = Cost((loss_of(groups, sensitivity),))
    problem = Problem(tuple(groups), costs, {}, LOSS, vetoes_of(graph, target, groups))
    return _within(problem, target, limits, minimise)


def _within(problem: Problem, target: Target, limits: Mapping[str, float], minimise: str) -> Problem:
    """The problem with these limits; PipelineError for one of what nothing is known of."""
    for name in (*limits, minimise):
        if name not in problem.costs:
            reason, fix = UNTOLD.get(name, (f"there is no cost {name}", suggest(name, problem.costs)))
            raise PipelineError(reason.format(target=target.name), fix=fix)
    return replace(problem, limits=dict(limits), minimise=minimise)


def loss_of(groups: Sequence[Group], sensitivity: Sensitivity) -> Row:
    """The predicted loss: each group's own, and what pairs lose together beyond it."""
    tables = {**sensitivity.weights, **sensitivity.activations}
    singles = {
        group.name: {bits: _loss(tables[group.name], bits) for bits in group.widths}
        for group in groups
        if group.name in tables
    }
    widths = {group.name: group.widths for group in groups}
    pairs: dict[tuple[str, str], dict[tuple[float, float], float]] = {}
    for (one, bits, other, more), extra in sensitivity.interactions.items():
        if bits in widths.get(one, ()) and more in widths.get(other, ()):
            terms = pairs.setdefault((one, other), _nothing(widths[one], widths[other]))
            terms[bits, more] += extra
    return Row(0.0, singles, pairs)


def _loss(losses: Losses, bits: float) -> float:
    """Of a width that was measured; a settled one between those that were counts as the next below it."""
    if bits > max(losses):
        return 0.0
    return losses[max((one for one in losses if one <= bits), default=min(losses))]


def _nothing(one: Sequence[float], other: Sequence[float]) -> dict[tuple[float, float], float]:
    return {(bits, more): 0.0 for bits in one for more in other}
