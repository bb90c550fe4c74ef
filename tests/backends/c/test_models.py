"""Trained networks as C: equal to the interpreter in every element, and in as little memory as can be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitsmith import compile, load
from bitsmith.backends.c import build
from bitsmith.backends.c.emit import sources
from bitsmith.backends.c.verify import run_sources
from bitsmith.execution.interpreter import run
from bitsmith.execution.reals import quantize_inputs
from bitsmith.recipe import Recipe
from bitsmith.target import load_target

ARENAS = {
    "resnet8_cifar10": 37_000,
    "dscnn_kws_tfl": 11_000,
    "mobilenetv1_025_vww": 48_000,
    "autoencoder_ad_tfl": 2_100,
    "dscnn_kws": 20_000,
    "mobilenetv2s_cifar10": 50_000,
    "mnist_cnn": 10_000,
}
"""Bytes that the arena may take, with input, output and scratch in it."""

BUDGETS = {"resnet8_cifar10": 17_000, "mobilenetv1_025_vww": 20_000}
"""Bytes that it can do with where they are asked for, without a multiply-accumulate more."""

CALIBRATION = {"autoencoder_ad_tfl": "autoencoder_ad"}
SAMPLES = 50


@pytest.mark.parametrize("name", ARENAS)
def test_trained_model(name: str, model_file: Callable[[str], Path], tmp_path: Path) -> None:
    data = model_file(f"{CALIBRATION.get(name, name)}.calib.npz")
    # Not its accuracy is asked for here.
    compile(model_file(f"{name}.onnx"), "host", data, tmp_path / "out", recipe=Recipe(effort="fast"), explain=False)
    artifact = load(tmp_path / "out")
    graph = artifact.graph
    with np.load(data) as samples:
        reals = dict.fromkeys(graph.inputs, samples["x"][:SAMPLES])
    inputs = quantize_inputs(graph, reals)
    program = build(graph, load_target("host"))
    found, expected = run_sources(program, sources(program), inputs), run(graph, inputs)
    for output in graph.outputs:
        assert len(found[output]) == min(SAMPLES, len(reals[graph.inputs[0]]))
        np.testing.assert_array_equal(found[output], expected[output])
    assert program.memory.bound <= program.memory.total <= ARENAS[name]
    if name in BUDGETS:
        less = build(graph, replace(load_target("host"), ram=BUDGETS[name]))
        few = {key: values[:4] for key, values in inputs.items()}
        for output, values in run_sources(less, sources(less), few).items():
            np.testing.assert_array_equal(values, expected[output][:4])
        assert less.memory.total <= BUDGETS[name]
        assert (less.macs, less.flash) == (program.macs, program.flash)
