"""Made-up sensitivities, random widths, and the whole way from a float graph with them to integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitsmith.allocation.problem import Group
from bitsmith.dataset import Dataset
from bitsmith.ir.allocation import Allocation
from bitsmith.ir.graph import Graph
from bitsmith.ir.grids import TERNARY_BITS
from bitsmith.ir.integer import IntegerGraph
from bitsmith.ir.linear import LINEAR, weight_value
from bitsmith.ir.sensitivity import Sensitivity
from bitsmith.ir.sharing import activation_groups
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.target import Target

WIDTHS = (2, 3, 4, 5, 6, 7, 8)
BOARD = Target(
    "board",
    "onnxruntime",
    weight_bits=WIDTHS,
    activation_bits=WIDTHS,
    granularities=("channel", "tensor", "group"),
    weight_formats=("int", "ternary"),
)


def sensitivity_of(graph: Graph, seed: int = 0, widths: tuple[int, ...] = WIDTHS) -> Sensitivity:
    """Losses that fall fourfold a bit, from a random one for each weight and activation; weights may be ternary."""
    random = np.random.default_rng(seed)

    def losses(widths: tuple[float, ...]) -> dict[float, float]:
        worst = float(random.lognormal())
        return {bits: worst * 4.0 ** (widths[0] - bits) for bits in widths}

    weights = {weight_value(node).name: losses((TERNARY_BITS, *widths)) for node in graph.nodes(*LINEAR)}
    return Sensitivity("made up", weights, {group[0].name: losses(widths) for group in activation_groups(graph)})


def random_bits(groups: tuple[Group, ...], seed: int) -> dict[str, float]:
    """One of each group's widths."""
    random = np.random.default_rng(seed)
    return {group.name: group.widths[random.integers(len(group.widths))] for group in groups}


def integers(graph: Graph, target: Target, allocation: Allocation, weights: str = "", seed: int = 0) -> IntegerGraph:
    """The integer graph of a normalised float graph with these widths, calibrated on noise."""
    random = np.random.default_rng(seed)
    samples: dict[str, Any] = {
        v.name: random.normal(size=(4, *v.sample_shape)).astype(np.float32) for v in graph.inputs
    }
    module = Module(graph.copy(), target, Dataset.from_arrays(samples), allocation=allocation)
    passes = f"quantize-weights{{{weights}}},quantize-activations{{observer=min-max}},quantize-biases,integerize"
    Pipeline.parse(f"calibrate,{passes}").run(module)
    return module.require_integer()
