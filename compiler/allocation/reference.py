"""Predictions for backends that store a model in a way of their own: found by asking them, not by knowing it.

What a layer's constants and scratch take depends on its own bits alone. So the model is made integers once per width,
all layers alike, the backend says what each layer takes, and any mixture is the sum. Code that layers share is there
once, if any of them has a width that asks for it. What remains (constants of other operations, gaps in the memory plan)
is taken from one of these graphs, as if bits did not change it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from bitsmith.allocation.budgets import CODE, FLASH, LUTS, RAM
from bitsmith.allocation.costs import Layout
from bitsmith.allocation.fabric import Told as Luts
from bitsmith.allocation.fabric import lut_row
from bitsmith.allocation.problem import Bits, Cost, Problem, Row, Users
from bitsmith.backend import Backend, Footprint, code_bytes
from bitsmith.execution.threads import one_blas_thread
from bitsmith.ir.graph import Graph
from bitsmith.ir.integer import IntegerGraph
from bitsmith.ir.linear import linear_nodes, weight_value
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.target import Target


def as_stored(problem: Problem, module: Module, layout: Layout, backend: Backend) -> Problem:
    """The problem with flash, RAM and look-up tables as the backend would have them; itself where it has no say.

    Constants whose storage depends on their values, as where a codebook turns out not to be needed, may take less.
    """
    if not (_has_a_say(backend) or _makes_circuits(backend)):
        return problem
    widths = sorted({bits for group in problem.groups if group.is_weight for bits in group.widths}, reverse=True)
    footprints: dict[float, Footprint] = {}
    luts: dict[float, Luts] = {}
    for done, bits in enumerate(widths):
        module.progress("ask the backend for sizes", done, len(widths))
        graph = _integers(problem, module, layout, _even(problem, bits))
        footprint, tables = backend.footprint(graph, module.target), backend.luts(graph, module.target)
        if footprint is not None:
            footprints[bits] = footprint
        if tables is not None:
            luts[bits] = tables
    module.progress("ask the backend for sizes", len(widths), len(widths))
    costs = dict(problem.costs)
    if footprints:
        told = _Told(problem, module.graph, footprints, widths[0])
        code = told.code(module.target)
        costs |= {FLASH: Cost((told.flash(code),)), RAM: Cost(tuple(told.ram()))}
        if code is not None:
            costs[CODE] = Cost((code,))
    if luts:
        narrow = _narrow(problem, module, layout, backend) or luts
        costs[LUTS] = Cost((lut_row(module.graph, problem.groups, luts, narrow),))
    return replace(problem, costs=costs)


def _narrow(problem: Problem, module: Module, layout: Layout, backend: Backend) -> dict[float, Luts]:
    """Look-up tables by the width of all weights with the fewest bits of activations; nothing where these are fixed."""
    if all(len(group.widths) == 1 for group in problem.groups if not group.is_weight):
        return {}
    found = {}
    for bits in {bits for group in problem.groups if group.is_weight for bits in group.widths}:
        tables = backend.luts(_integers(problem, module, layout, _even(problem, bits, least=True)), module.target)
        if tables is not None:
            found[bits] = tables
    return found


def _has_a_say(backend: Backend) -> bool:
    """Whether the backend may say more of sizes than nothing: making integers only to hear that takes time."""
    return type(backend).footprint is not Backend.footprint


def _makes_circuits(backend: Backend) -> bool:
    return type(backend).luts is not Backend.luts


class _Told:
    """What the backend said, as rows of costs.

    footprints: with all layers alike, by the width of their weights; `widest` is the reference of all else.
    """

    def __init__(self, problem: Problem, graph: Graph, footprints: Mapping[float, Footprint], widest: float) -> None:
        self._problem = problem
        self._footprints = footprints
        self._reference = footprints[widest]
        self._bits = _even(problem, widest)
        self._widths = {group.name: group.widths for group in problem.groups}
        self._weights = {node.name: weight_value(node).name for node in linear_nodes(graph)}

    def flash(self, code: Row | None) -> Row:
        """Each layer's bytes by its width, and whatever the reference has beside; and of code, where it is known."""
        (row,) = self._problem.costs[FLASH].rows
        told = {
            weight: {bits: self._footprints[bits].flash.get(layer, 0) for bits in self._widths[weight]}
            for layer, weight in self._weights.items()
        }
        row = replace(row, singles={**row.singles, **told})
        constants = _more(row, sum(self._reference.flash.values()) - row.at(self._bits))
        return constants if code is None else constants.plus(code)

    def code(self, target: Target) -> Row | None:
        """What each part of code takes, by the choices that ask for it; None where nothing is known of code.

        A part that some choices make longer than others is as long as the longest of those that are made.
        """
        total = code_bytes(self._reference, target)
        if total is None or self._reference.code is None:
            return None if total is None else Row(total)
        sizes: dict[str, dict[tuple[str, float], int]] = {}
        for bits, footprint in self._footprints.items():
            for one in footprint.code or ():
                asking = [self._weights[name] for name in one.operations if name in self._weights]
                # What others ask for is there whatever is chosen.
                if len(asking) == len(one.operations) > 0:
                    choices = [(weight, bits) for weight in asking if bits in self._widths[weight]]
                    sizes.setdefault(one.part, {}).update(dict.fromkeys(choices, one.bytes))
        row = self._shared([lengths for part in sizes.values() for lengths in _levels(part)])
        return _more(row, total - row.at(self._bits))

    def _shared(self, parts: Sequence[tuple[Users, int]]) -> Row:
        """What parts take by their users: a term of the layer where they all are of one."""
        singles = {weight: dict[float, float].fromkeys(self._widths[weight], 0) for weight in self._weights.values()}
        once: dict[Users, float] = {}
        for users, size in parts:
            layers = {weight for weight, _ in users}
            if len(layers) == 1:
                for weight, bits in users:
                    singles[weight][bits] += size
            else:
                once[users] = once.get(users, 0) + size
        return Row(0, singles, once=once)

    def ram(self) -> Iterator[Row]:
        """Each step's bytes by its layer's width, changed by as much as widths of activations change what is alive.

        What a plan of all memory loses to gaps is left out: it is known of one allocation at a time.
        """
        rows = {row.where: row for row in self._problem.costs[RAM].rows}
        for layer, used in self._reference.steps.items():
            alive = rows.get(layer, Row(where=layer))
            change = _more(alive, -alive.at(self._bits))
            weight = self._weights.get(layer)
            if weight is None:
                yield _more(change, used)
            else:
                told = {bits: self._footprints[bits].steps.get(layer, 0) for bits in self._widths[weight]}
                yield replace(change, singles={**change.singles, weight: told})
        if not self._reference.steps:
            yield Row(self._reference.ram)


def _levels(sizes: Mapping[tuple[str, float], int]) -> Iterator[tuple[Users, int]]:
    """The lengths that add up to the longest of what is asked for, each by those that ask for so much."""
    before = 0
    for size in sorted(set(sizes.values()) - {0}):
        yield frozenset(choice for choice, length in sizes.items() if length >= size), size - before
        before = size


def as_told(problem: Problem, module: Module, layout: Layout, backend: Backend, bits: Bits) -> Problem:
    """The problem with flash, RAM and look-up tables moved to where these widths have what the backend says of them."""
    if not (_has_a_say(backend) or _makes_circuits(backend)):
        return problem
    graph = _integers(problem, module, layout, bits)
    footprint, tables = backend.footprint(graph, module.target), backend.luts(graph, module.target)
    exact: dict[str, float] = {}
    if footprint is not None:
        code = code_bytes(footprint, module.target)
        exact |= {FLASH: (code or 0) + sum(footprint.flash.values()), RAM: footprint.ram}
        exact |= {} if code is None else {CODE: code}
    if tables is not None:
        exact[LUTS] = sum(tables.values())
    moved = {
        name: Cost(tuple(_more(row, told - problem.costs[name].at(bits)) for row in problem.costs[name].rows))
        for name, told in exact.items()
    }
    return replace(problem, costs={**problem.costs, **moved})


def _more(row: Row, constant: float) -> Row:
    return replace(row, constant=row.constant + constant)


def _even(problem: Problem, bits: float, *, least: bool = False) -> dict[str, float]:
    """The widths nearest to all weights having so many bits, and activations as many, or as few, as they may have."""
    return {
        group.name: _nearest(group.widths, bits) if group.is_weight else group.widths[0 if least else -1]
        for group in problem.groups
    }


def _nearest(widths: Sequence[float], bits: float) -> float:
    return bits if bits in widths else widths[-1]


def _integers(problem: Problem, module: Module, layout: Layout, bits: Bits) -> IntegerGraph:
    """The integer graph with these widths, its ranges by what calibration saw; the module stays as it is."""
    trial = replace(module, allocation=problem.allocation(bits))
    scales = "" if module.target.scales == "free" else f",scales={module.target.scales}"
    passes = []
    if any(group.is_weight and not group.settled for group in problem.groups):
        most = module.target.weight_bits[0]
        passes.append(f"quantize-weights{{bits={most},granularity={layout.granularity},group={layout.group}{scales}}}")
    if any(not group.is_weight and not group.settled for group in problem.groups):
        most = module.target.activation_bits[0]
        passes.append(f"quantize-activations{{bits={most},observer=min-max{scales}}}")
    with one_blas_thread():
        Pipeline.parse(",".join([*passes, "quantize-biases", "integerize"])).run(trial)
    return trial.require_integer()
