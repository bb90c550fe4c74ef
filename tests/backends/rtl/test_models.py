"""Networks as circuits: Verilog in Verilator equals the interpreter on 1,000 vectors, edges and saturation included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import bitsmith
from bitsmith.execution.batches import vectors
from bitsmith.execution.interpreter import run
from bitsmith.ir.integer import IntegerGraph
from bitsmith.recipe import Recipe
from tests.backends.rtl.agreement import assert_equal, assert_verilog_equal
from tests.sketch import Sketch, normal


def small_network(folder: Path) -> Path:
    """Convolutions with a residual, both pools, a table and a product: every kind of circuit."""
    sketch = Sketch(x=("N", 1, 4, 4))
    first = sketch.add("Relu", sketch.add("Conv", "x", normal(2, 1, 3, 3), normal(2, seed=1)))
    second = sketch.add("Conv", first, normal(2, 1, 3, 3, seed=2), normal(2, seed=3), pads=[1, 1, 1, 1], group=2)
    both = sketch.add("Relu", sketch.add("Add", first, second))
    pooled = sketch.add("MaxPool", both, kernel_shape=[2, 2], pads=[0, 0, 1, 0])
    mean = sketch.add("Flatten", sketch.add("GlobalAveragePool", pooled))
    scores = sketch.add("Gemm", mean, normal(2, 3, seed=4), normal(3, seed=5))
    sketch.add("Mul", scores, sketch.add("Sigmoid", scores), outputs=["y"])
    onnx.save(sketch.model("y"), folder / "small.onnx")
    np.savez(folder / "small.npz", x=normal(64, 1, 4, 4, seed=6))
    return folder / "small.onnx"


def compiled(model: Path, target: str, folder: Path, **recipe: object) -> IntegerGraph:
    """The integer graph of a model, from data beside it or from none."""
    data = model.with_suffix(".npz")
    known = data if data.is_file() else None
    chosen = Recipe(data_free=known is None, **recipe)  # type: ignore[arg-type]
    return bitsmith.compile(model, target, known, folder / "out", recipe=chosen, explain=False).graph


@pytest.mark.parametrize("target", ["rtl", "rtl-free"])
def test_every_kind_of_circuit(target: str, tmp_path: Path) -> None:
    graph = compiled(small_network(tmp_path), target, tmp_path, weights=4, activations=4)
    kinds = {operation.kind for operation in graph}
    assert {"Conv", "Add", "MaxPool", "AveragePool", "Linear", "Table", "Mul"} <= kinds
    made = assert_verilog_equal(graph, levels=4)
    assert made.stages > 2


def test_jet_tagging(model_file: Callable[[str], Path], tmp_path: Path) -> None:
    graph = compiled(model_file("jet_mlp_3layer_NODATA.onnx"), "rtl", tmp_path, weights=4, activations=4)
    inputs = vectors(graph, 1000, seed=1)
    saturated = [
        (values == graph.values[name].format.type.highest).any() for name, values in run(graph, inputs, True).items()
    ]
    assert all(saturated)
    made = assert_verilog_equal(graph, inputs)
    assert made.luts < 20_000


@pytest.mark.parametrize("weights", [6, "powers", "ternary"])
def test_jet_tagging_with_other_weights(weights: int | str, model_file: Callable[[str], Path], tmp_path: Path) -> None:
    graph = compiled(model_file("jet_mlp_3layer_bn_NODATA.onnx"), "rtl", tmp_path, weights=weights, activations=6)
    assert_equal(graph, vectors(graph, 1000, seed=2))
