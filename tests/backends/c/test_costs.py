"""`bitsmith targets --measure`: what a multiply-accumulate costs, from running kernels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bitsmith.allocation.measured import costs_of_integers
from bitsmith.backends.c import CBackend
from bitsmith.backends.c.machines.costs import convolution
from bitsmith.dataset import Dataset
from bitsmith.execution.batches import vectors
from bitsmith.importing.load import load_graph
from bitsmith.ir.validate import validate
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.progress import silent
from bitsmith.target import load_target, read_target
from tests.backends.c.agreement import assert_equal
from tests.backends.c.needs import machine_of
from tests.compiler.allocation.made_up import sensitivity_of


@pytest.mark.parametrize("weight_bits", [1.6, 2, 4, 8])
@pytest.mark.parametrize("activation_bits", [8, 16])
def test_what_is_measured_is_a_valid_convolution(weight_bits: float, activation_bits: int) -> None:
    graph = convolution(weight_bits, activation_bits)
    validate(graph)
    assert_equal(graph, vectors(graph, 1, seed=0))


def test_every_pair_of_widths_has_a_cost() -> None:
    target, _ = machine_of("cortex-m4")
    few = replace(target, weight_bits=(8, 4), activation_bits=(8, 5, 16, 12))
    told: list[tuple[int, int]] = []
    found = CBackend().measure(few, lambda task, done, total: told.append((done, total)))
    assert found is not None
    assert list(found) == ["8x8", "8x5", "8x16", "8x12", "4x8", "4x5", "4x16", "4x12"]
    assert found["8x5"] == found["8x8"]
    assert found["4x12"] == found["4x16"]
    # Never fewer cycles than half a one, for an instruction multiplies twice at most.
    assert all(0.5 < cost < 10 for cost in found.values())
    assert told == [(done, 4) for done in range(5)]


def test_ternary_weights_have_a_cost_of_their_own_that_a_target_file_takes(tmp_path: Path) -> None:
    target, _ = machine_of("cortex-m4")
    found = CBackend().measure(replace(target, weight_bits=(2,), activation_bits=(8, 16)), silent)
    assert found is not None
    assert list(found) == ["2x8", "2x16", "1.6x8", "1.6x16"]
    assert found["2x8"] < found["1.6x8"] < 2 * found["2x8"]
    written = tmp_path / "own.toml"
    lines = [f'"{pair}" = {cost}' for pair, cost in found.items()]
    written.write_text("\n".join(['backend = "c"', "[cycles]", *lines]))
    assert read_target(written).cycles == found


def test_a_core_without_simd_pays_more() -> None:
    costs = []
    for name in ("cortex-m4", "cortex-m3"):
        target, _ = machine_of(name)
        found = CBackend().measure(replace(target, weight_bits=(8,), activation_bits=(8,)), silent)
        assert found is not None
        costs.append(found["8x8"])
    assert costs[0] < costs[1]


def test_this_machine_is_not_measured() -> None:
    assert CBackend().measure(load_target("host"), silent) is None


def test_a_budget_of_measured_cycles_is_kept_by_bits_chosen_for_it(digits: Path) -> None:
    target, _ = machine_of("cortex-m4")
    few = replace(target, weight_bits=(8, 4), activation_bits=(8,))
    table = CBackend().measure(few, silent)
    assert table is not None
    measured = replace(few, cycles=table)
    graph = load_graph(digits / "digits.onnx")
    data = Dataset.open(digits / "calibration.npz", {value.name: value.sample_shape for value in graph.inputs})
    module = Module(graph, measured, data)
    Pipeline.parse(f"{NORMALISE},calibrate").run(module)
    module.sensitivity = sensitivity_of(graph)
    # Here few bits take more cycles, so that something else must ask for them.
    solutions = []
    for budget in ("", ",cycles={}"):
        options = "mean_weight_bits=6,trials=1" + budget.format(int(solutions[0].costs["cycles"]) - 1 if budget else 0)
        trial = replace(module, graph=module.graph.copy())
        rest = "quantize-weights,quantize-activations{observer=min-max},quantize-biases,integerize"
        Pipeline.parse(f"allocate-bits{{{options}}},{rest}").run(trial)
        assert trial.solution is not None
        assert set(trial.solution.allocation.weights.values()) == {4, 8}
        found = costs_of_integers(trial.require_integer(), measured)
        assert found["cycles"] == pytest.approx(trial.solution.costs["cycles"])
        assert found["mean-weight-bits"] <= 6
        solutions.append(trial.solution)
    assert solutions[1].costs["cycles"] < solutions[0].costs["cycles"]
    assert solutions[1].loss > solutions[0].loss
