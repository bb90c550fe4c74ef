"""Predictions for backends that store a model in a way of their own: found by asking them, not by knowing it.

What a layer's constants take depends on its own bits alone. So the model is made integers once per width, all layers
alike, the backend says what each layer takes, and any mixture is the sum. What remains (other operations' constants,
what a memory plan needs beside the live activations) is taken from one of these graphs, as if bits did not change it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bitsmith.allocation.budgets import FLASH, RAM
from bitsmith.allocation.costs import Layout
from bitsmith.allocation.problem import Cost, Problem, Row
from bitsmith.backend import Backend, Footprint
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.ir.linear import LINEAR, weight_value
from bitsmith.manager import Pipeline
from bitsmith.module import Module


def as_stored(problem: Problem, module: Module, layout: Layout, backend: Backend) -> Problem:
    """The problem with flash and RAM as the backend would have them; itself where the backend has no say.

    Constants whose storage depends on their values, as where a codebook turns out not to be needed, may take less.
    """
    widths = sorted({bits for group in problem.groups if group.is_weight for bits in group.widths}, reverse=True)
    footprints: dict[int, Footprint] = {}
    for done, bits in enumerate(widths):
        module.progress("ask the backend for sizes", done, len(widths))
        footprint = backend.footprint(_integers(problem, module, layout, bits), module.target)
        if footprint is None:
            return problem
        footprints[bits] = footprint
    module.progress("ask the backend for sizes", len(widths), len(widths))
    if not footprints:
        return problem
    widest = _even(problem, widths[0])
    flash = _flash(problem, module.graph, footprints)
    seen = footprints[widths[0]]
    missing = module.target.code + sum(seen.flash.values()) - flash.at(widest)
    memory = problem.costs[RAM]
    beside = seen.ram - memory.at(widest)
    costs = {
        **problem.costs,
        FLASH: Cost((replace(flash, constant=flash.constant + missing),)),
        RAM: Cost(tuple(replace(row, constant=row.constant + beside) for row in memory.rows)),
    }
    return replace(problem, costs=costs)


def _flash(problem: Problem, graph: Graph, footprints: Mapping[int, Footprint]) -> Row:
    """The row of flash with each layer's bytes as they were told, by width."""
    (row,) = problem.costs[FLASH].rows
    widths = {group.name: group.widths for group in problem.groups}
    told = {}
    for node in graph.nodes(*LINEAR):
        name = weight_value(node).name
        told[name] = {bits: footprints[bits].flash.get(node.name, 0) for bits in widths[name]}
    return replace(row, singles={**row.singles, **told})


def _even(problem: Problem, bits: int) -> dict[str, int]:
    """The widths nearest to all weights having so many bits, and activations as many as they may have."""
    return {
        group.name: _nearest(group.widths, bits) if group.is_weight else group.widths[-1] for group in problem.groups
    }


def _nearest(widths: Sequence[int], bits: int) -> int:
    return bits if bits in widths else widths[-1]


def _integers(problem: Problem, module: Module, layout: Layout, bits: int) -> IntegerGraph:
    """The integer graph with so many bits, its ranges by what calibration saw; the module stays as it is."""
    trial = replace(module, allocation=problem.allocation(_even(problem, bits)))
    scales = "" if module.target.scales == "free" else f",scales={module.target.scales}"
    passes = []
    if any(group.is_weight and not group.settled for group in problem.groups):
        passes.append(f"quantize-weights{{bits={bits},granularity={layout.granularity},group={layout.group}{scales}}}")
    if any(not group.is_weight and not group.settled for group in problem.groups):
        most = module.target.activation_bits[0]
        passes.append(f"quantize-activations{{bits={most},observer=min-max{scales}}}")
    Pipeline.parse(",".join([*passes, "quantize-biases", "integerize"])).run(trial)
    return trial.require_integer()
