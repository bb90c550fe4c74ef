"""The costs of an integer graph, as it stands: what budgets are checked against, whatever was predicted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from bitsmith.allocation.budgets import (
    BOPS,
    CODE,
    CYCLES,
    FLASH,
    LUTS,
    MEAN_ACTIVATION_BITS,
    MEAN_WEIGHT_BITS,
    RAM,
    made_of,
    shown,
)
from bitsmith.allocation.costs import bit_operations
from bitsmith.allocation.memory import Access, activation_bytes, alive, peak_bytes
from bitsmith.allocation.problem import within
from bitsmith.backend import Backend, code_bytes
from bitsmith.errors import BudgetError
from bitsmith.figures import layers
from bitsmith.ir.bounds import Bounds
from bitsmith.ir.grids import TERNARY_BITS
from bitsmith.ir.integer import Conv, IntegerGraph, Linear, Reshape
from bitsmith.target import Target

UNKNOWN = {
    CYCLES: (
        "the target's table of cycles does not say what the cycles are",
        "Leave that budget out, or give --target a file whose `cycles` has all pairs of widths.",
    ),
    LUTS: ("nothing is known of the target's look-up tables", "Leave that budget out, or compile for an FPGA."),
}
"""Costs that may not be known of an integer graph: why, and what to do."""


def costs_of_integers(graph: IntegerGraph, target: Target, backend: Backend | None = None) -> dict[str, float]:
    """Every cost by name; cycles only where the target's table has all pairs of widths that there are.

    backend: says what flash and RAM its artifact takes, where that differs from the graph's own figures, and how many
    look-up tables. These, and code, are estimates; all else is exact.
    """
    footprint = None if backend is None else backend.footprint(graph, target)
    products = [one for one in graph if isinstance(one, Conv | Linear)]
    macs = {one.name: math.prod(graph.result(one).shape) * math.prod(one.weight.shape[1:]) for one in products}
    pairs = {one.name: (one.weight_format.bits, graph.operands(one)[0].format.bits) for one in products}
    activations = [value for name, value in graph.values.items() if name not in graph.constants]
    elements = {value.name: math.prod(value.shape) for value in activations}
    code = code_bytes(footprint, target)
    found: dict[str, float] = {
        FLASH: (code or 0) + (flash_bytes(graph) if footprint is None else sum(footprint.flash.values())),
        **({} if code is None else {CODE: code}),
        RAM: ram_bytes(graph, target) if footprint is None else footprint.ram,
        BOPS: sum(macs[name] * bit_operations(weight, activation) for name, (weight, activation) in pairs.items()),
        MEAN_WEIGHT_BITS: _mean({one.name: (one.weight.size, pairs[one.name][0]) for one in products}),
        MEAN_ACTIVATION_BITS: _mean({value.name: (elements[value.name], value.format.bits) for value in activations}),
    }
    cycles = {name: target.cycles.get(f"{weight}x{activation}") for name, (weight, activation) in pairs.items()}
    if all(one is not None for one in cycles.values()):
        found[CYCLES] = sum(macs[name] * one for name, one in cycles.items() if one is not None)
    tables = None if backend is None else backend.luts(graph, target)
    if tables is not None:
        found[LUTS] = round(sum(tables.values()))
    return found


def flash_bytes(graph: IntegerGraph) -> int:
    """Bytes of all constants: weights packed, what they are looked up in, biases, multipliers, tables, operands."""
    parameters = sum(layer.parameter_bytes for layer in layers(graph, Bounds({}, {})))
    return parameters + sum(array.nbytes for array in graph.constants.values())


def ram_bytes(graph: IntegerGraph, target: Target) -> int:
    """Bytes of the activations that are alive together at the fullest step."""
    sizes = {
        name: activation_bytes(math.prod(value.shape), value.format.bits, target)
        for name, value in graph.values.items()
    }
    schedule = [
        Access(
            one.name,
            tuple(name for name in one.inputs if name not in graph.constants),
            one.output,
            isinstance(one, Reshape),
        )
        for one in graph
    ]
    return peak_bytes(alive(graph.inputs, schedule, graph.outputs), sizes)


def require_within(costs: Mapping[str, float], limits: Mapping[str, float]) -> None:
    """Raise BudgetError for a cost that exceeds its limit, or that is not known, naming all that do."""
    unknown = [name for name in limits if name not in costs]
    if unknown:
        reason, fix = UNKNOWN[unknown[0]]
        raise BudgetError(reason, fix=fix)
    over = [name for name, limit in limits.items() if not within(costs[name], limit)]
    if over:
        figures = " and ".join(f"{name} is {shown(name, costs[name])} of {shown(name, limits[name])}" for name in over)
        parts = f", {made_of(costs)}" if FLASH in over and CODE in costs else ""
        raise BudgetError(
            f"the compiled model is over its budget: {figures}{parts}",
            fix=" ".join(_advice(costs, over)),
        )


def _advice(costs: Mapping[str, float], over: Sequence[str]) -> Iterator[str]:
    """What to do about budgets that are not kept: weights take no RAM, and none are narrower than ternary ones."""
    weights = [name for name in over if name in (FLASH, MEAN_WEIGHT_BITS)]
    is_ternary = 0 < costs.get(MEAN_WEIGHT_BITS, 0) <= TERNARY_BITS
    if (weights and not is_ternary) or any(name not in (FLASH, MEAN_WEIGHT_BITS, RAM) for name in over):
        yield "Give fewer bits, or --weights mixed --activations mixed to have them chosen for the budget."
    elif weights:
        yield "Weights are ternary already, and none take less: give a larger budget, or a smaller model."
    if RAM in over:
        yield (
            "RAM is what activations and kernels take, whatever bits weights have: give activations fewer bits, where "
            "the target then holds them in fewer bytes, a larger budget, or a smaller input."
        )
    if LUTS in over:
        yield "Where they were, learned rounding took more than was predicted: give less."


def _mean(counts: dict[str, tuple[int, float]]) -> float:
    total = sum(count for count, _ in counts.values())
    return sum(count * bits for count, bits in counts.values()) / total if total else 0.0
