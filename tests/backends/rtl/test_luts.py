"""Look-up tables by operation: all of the circuit's, told before it is written, and kept to as a budget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, reject, settings

import bitsmith
from bitsmith.backends.rtl import RtlBackend
from bitsmith.backends.rtl.circuit import circuit, luts
from bitsmith.errors import BudgetError, PipelineError, UnsupportedError
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import IntegerGraph, Linear, Requantize, Value
from bitsmith.recipe import Recipe
from bitsmith.target import load_target
from tests.backends.rtl.test_random_graphs import BITS, SLOW
from tests.sketch import Sketch, normal
from tests.strategies import integer_graphs


@settings(max_examples=10, suppress_health_check=SLOW, deadline=None)
@given(graph=integer_graphs(bits=BITS, most=3))
def test_they_add_up_to_those_of_the_circuit(graph: IntegerGraph) -> None:
    try:
        found = luts(graph)
    except UnsupportedError:
        reject()
    assert set(found) == {operation.name for operation in graph}
    assert sum(found.values()) == pytest.approx(float(circuit(graph).cost))


def test_by_hand() -> None:
    """Two sums of two inputs of 4 bits take an adder of 5 bits each; what nothing reads takes none."""
    kind, wide = Format(IntegerType(4), (1.0,)), Format(IntegerType(8), (1.0,))
    rule = Requantize(np.array([2]), 1, 0, -128, 127)
    read = Linear("read", ("x",), "y", np.array([[1, 1], [1, -1]]), np.zeros(2, np.int32), kind, rule)
    idle = Linear("idle", ("x",), "z", np.array([[1, 3]]), np.zeros(1, np.int32), kind, rule)
    values = {"x": Value("x", (2,), kind), "y": Value("y", (2,), wide), "z": Value("z", (1,), wide)}
    found = luts(IntegerGraph("g", values, ("x",), ("y",), (idle, read)))
    assert found["idle"] == 0
    assert 8 <= found["read"] <= 12


def network(folder: Path) -> tuple[Path, Path]:
    s = Sketch(x=("N", 8))
    hidden = s.add("Relu", s.add("Gemm", "x", normal(8, 12), normal(12, seed=1)))
    hidden = s.add("Relu", s.add("Gemm", hidden, normal(12, 12, seed=2), normal(12, seed=3)))
    s.add("Gemm", hidden, normal(12, 4, seed=4), normal(4, seed=5), outputs=["y"])
    onnx.save(s.model("y"), folder / "model.onnx")
    np.savez(folder / "data.npz", x=normal(64, 8, seed=6))
    return folder / "model.onnx", folder / "data.npz"


def test_bits_are_chosen_for_a_budget(tmp_path: Path) -> None:
    model, data = network(tmp_path)
    took = {}
    for name, recipe in {
        "uniform": Recipe(weights=8, activations=8, effort="fast"),
        "half": Recipe(weights="mixed", activations="mixed", budgets={"luts": 1300.0}, effort="fast"),
    }.items():
        made = bitsmith.compile(model, "rtl", data, tmp_path / name, recipe=recipe, explain=False)
        took[name] = made.manifest["costs"]["luts"]
        assert took[name] == made.manifest["artifact"]["LUTs, estimated"]
        assert took[name] == pytest.approx(sum(RtlBackend().luts(made.graph, load_target("rtl")).values()), abs=1)
    assert took["half"] <= 1300 < took["uniform"] / 2
    found = made.manifest["program"]["predicted"]["luts"]
    assert found == pytest.approx(took["half"], rel=0.05)


def test_budgets_that_cannot_be(tmp_path: Path) -> None:
    model, data = network(tmp_path)
    few = Recipe(weights="mixed", activations="mixed", budgets={"luts": 10.0}, effort="fast")
    with pytest.raises(BudgetError, match="luts of 10 LUTs cannot be kept by any bits"):
        bitsmith.compile(model, "rtl", data, tmp_path / "few", recipe=few, explain=False)
    uniform = Recipe(weights=8, budgets={"luts": 1000.0}, effort="fast")
    with pytest.raises(BudgetError, match="of 1,000 LUTs"):
        bitsmith.compile(model, "rtl", data, tmp_path / "many", recipe=uniform, explain=False)
    with pytest.raises(PipelineError, match="of the look-up tables of target onnxruntime"):
        bitsmith.compile(
            model,
            "onnxruntime",
            data,
            tmp_path / "other",
            recipe=Recipe(weights="mixed", budgets={"luts": 1000.0}, effort="fast"),
            explain=False,
        )
    with pytest.raises(BudgetError, match="nothing is known of the target's look-up tables"):
        bitsmith.compile(model, "onnxruntime", data, tmp_path / "o", recipe=uniform, explain=False)
