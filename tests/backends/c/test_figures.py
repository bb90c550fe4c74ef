"""What whole networks cost on a Cortex-M4 and a Cortex-M55: no more than what was set out to be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bitsmith import compile
from bitsmith.backends.c import build, golden
from bitsmith.backends.c.machines import Outcome, run_program
from bitsmith.backends.c.program import Program
from bitsmith.ir.integer import IntegerGraph
from bitsmith.recipe import Recipe
from tests.backends.c.needs import machine_of
from tests.benchmarks.mcu import PEERS


@dataclass(frozen=True)
class Limits:
    """instructions, cycles: of an inference with 8-bit weights on Cortex-M4. ram: bytes of arena, scratch included."""

    instructions: int
    cycles: int
    ram: int


LIMITS = {
    "resnet8_cifar10": Limits(11_000_000, 20_000_000, 37 << 10),
    "dscnn_kws_tfl": Limits(2_700_000, 5_000_000, 11 << 10),
    # Without channels that are the same for every input: half the multiply-accumulates are left.
    "mobilenetv1_025_vww": Limits(5_000_000, 7_500_000, 48 << 10),
    "autoencoder_ad_tfl": Limits(270_000, 500_000, 2_150),
}
CODE = 12 << 10
"""Bytes of flash on a Cortex-M4 beyond weights, biases and multipliers."""

HELIUM = 0.65
"""Of the instructions that CMSIS-NN takes on a Cortex-M55."""


@pytest.mark.parametrize("name", LIMITS)
def test_a_network_costs_no_more_than_it_should(name: str, model_file: Callable[[str], Path], tmp_path: Path) -> None:
    graph = compiled(name, model_file, tmp_path)
    limits = LIMITS[name]
    program, outcome = measured(graph, "cortex-m4")
    assert outcome.counts is not None
    assert outcome.counts.cycles is not None
    assert outcome.counts.total <= limits.instructions
    assert sum(outcome.counts.cycles.values()) <= limits.cycles
    assert program.memory.total <= limits.ram
    assert outcome.sizes.flash - program.flash <= CODE
    program, outcome = measured(graph, "cortex-m55")
    assert outcome.counts is not None
    assert outcome.counts.total <= HELIUM * PEERS[name].instructions["cortex-m55"]
    assert program.memory.total <= limits.ram


def compiled(name: str, model_file: Callable[[str], Path], folder: Path) -> IntegerGraph:
    data = "autoencoder_ad" if name.startswith("autoencoder_ad") else name
    model, calibration = model_file(f"{name}.onnx"), model_file(f"{data}.calib.npz")
    recipe = Recipe(effort="fast")
    return compile(model, "host", calibration, folder / "out", recipe=recipe, explain=False).graph


def measured(graph: IntegerGraph, core: str) -> tuple[Program, Outcome]:
    target, machine = machine_of(core)
    program = build(graph, target)
    inputs = {key: values[-1:] for key, values in golden(graph).items()}
    outcome = run_program(machine, program, inputs, count=True)
    assert outcome.passed, outcome.meaning
    return program, outcome
