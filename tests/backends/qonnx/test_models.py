"""Trained networks as QONNX: equal to the interpreter in every element of every layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitsmith import Artifact, compile, load
from bitsmith.execution.batches import vectors
from bitsmith.execution.interpreter import run
from bitsmith.execution.reals import quantize_inputs
from bitsmith.recipe import Recipe

SAMPLES = 1000


def assert_equal(artifact: Artifact, calibration: Path) -> None:
    """On corners, noise and real samples, all at once."""
    graph = artifact.graph
    with np.load(calibration) as samples:
        real = quantize_inputs(graph, dict.fromkeys(graph.inputs, samples["x"]))
    made = vectors(graph, SAMPLES - len(real["x"]), seed=1)
    inputs = {name: np.concatenate([made[name], real[name]]) for name in graph.inputs}
    expected = run(graph, inputs, keep=True)
    found = artifact.backend.trace(graph, artifact.folder, inputs)
    assert found is not None
    for operation in graph:
        np.testing.assert_array_equal(found[operation.output], expected[operation.output], err_msg=operation.output)
    for name, outputs in artifact.backend.run(graph, artifact.folder, inputs).items():
        assert outputs.shape[0] == SAMPLES
        np.testing.assert_array_equal(outputs, expected[name])


@pytest.mark.parametrize("bits", [8, 6, 3])
def test_digits(digits: Path, tmp_path: Path, bits: int) -> None:
    data = digits / "calibration.npz"
    recipe = Recipe(weights=bits, activations=bits, effort="fast")
    compile(digits / "digits.onnx", "qonnx", data, tmp_path / "out", recipe=recipe, explain=False)
    assert_equal(load(tmp_path / "out"), data)


def test_mnist(model_file: Callable[[str], Path], tmp_path: Path) -> None:
    data = model_file("mnist_cnn.calib.npz")
    compile(model_file("mnist_cnn.onnx"), "qonnx", data, tmp_path / "out", explain=False)
    assert_equal(load(tmp_path / "out"), data)
