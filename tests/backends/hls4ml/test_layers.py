"""Single layers of a project: what they make in its C simulation, what they are asked for, and what they take."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitsmith.backends.hls4ml import FOLDER, Hls4mlBackend
from bitsmith.backends.hls4ml.capabilities import refusals
from bitsmith.backends.hls4ml.luts import adders, luts
from bitsmith.backends.hls4ml.options import own_options
from bitsmith.execution.batches import vectors
from bitsmith.execution.export import to_onnx
from bitsmith.execution.interpreter import run
from bitsmith.ir.integer import Reshape
from bitsmith.target import Target, load_target
from bitsmith.verification import Forms
from tests.backends.hls4ml.agreement import assert_simulates
from tests.backends.hls4ml.networks import flattened, images
from tests.backends.qonnx.lowered import integers, normalised

SHAPE = {"x": (2, 4, 4)}


def with_layers(text: str, name: str = "hls4ml-vitis") -> Target:
    target = load_target(name)
    return replace(target, options={**target.options, "layers": text})


def test_every_layer_is_seen(tmp_path: Path) -> None:
    graph, backend = integers(flattened(), SHAPE), Hls4mlBackend()
    backend.emit(graph, load_target("hls4ml-quartus"), tmp_path)
    inputs = vectors(graph, 40, seed=1)
    expected, found = run(graph, inputs, keep=True), backend.trace(graph, tmp_path, inputs)
    assert set(found) == {one.output for one in graph if not isinstance(one, Reshape)}
    for name, array in found.items():
        assert array.dtype == expected[name].dtype
        np.testing.assert_array_equal(array, expected[name])


def test_the_first_layer_that_differs_is_named(tmp_path: Path) -> None:
    graph, backend = integers(flattened(), SHAPE), Hls4mlBackend()
    backend.emit(graph, load_target("hls4ml-vitis"), tmp_path)
    (conv, _, product) = graph
    (biases,) = [
        path
        for path in (tmp_path / FOLDER / "firmware" / "weights").glob("b*.txt")
        if len(path.read_text().split(",")) == graph.result(product).shape[0]
    ]
    biases.write_text("0, 0, 0, 0")
    header = biases.with_suffix(".h")
    header.write_text(re.sub(r"\{.*\}", "{0, 0, 0, 0}", header.read_text(), flags=re.DOTALL))
    forms = Forms(graph, to_onnx(graph), backend, tmp_path, "hls4ml")
    _, found = forms.check([vectors(graph, 40, seed=1)], "made up", 40, lambda *_: None)
    assert not found.passed
    layers = {layer.name: layer.differing for layer in found.found.layers}
    assert layers[conv.output] == 0
    assert layers[product.output] > 0


def test_layers_have_options_of_their_own(tmp_path: Path) -> None:
    graph = integers(flattened(), SHAPE)
    conv, product = (one.name for one in graph if not isinstance(one, Reshape))
    Hls4mlBackend().emit(graph, with_layers(f"{product}=resource:6"), tmp_path)
    parameters = (tmp_path / FOLDER / "firmware" / "parameters.h").read_text()
    asked = {
        kind: re.findall(rf"struct config\d+ : nnet::{kind}_config .*?reuse_factor = (\d+);", parameters, re.DOTALL)
        for kind in ("conv2d", "dense")
    }
    assert asked == {"conv2d": ["1"], "dense": ["6"]}
    assert "DenseResource" in parameters
    assert_simulates(graph, tmp_path, 200)
    assert conv != product


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("fc9=4", "the model has no layer fc9"),
        ("conv0=", "is not of the form"),
        ("conv0=0", "is not of the form"),
        ("conv0=quick:4", "is not of the form"),
        ("resource", "names no layer"),
    ],
)
def test_options_of_layers_that_make_no_sense(text: str, reason: str) -> None:
    (found,) = refusals(normalised(flattened()), with_layers(text))
    assert found.where == "target hls4ml-vitis, options, layers"
    assert reason in found.reason


def test_options_of_layers_are_read() -> None:
    read = own_options("fc1=resource:16, a.b=latency,c=4")
    assert read == {
        "fc1": {"strategy": "resource", "reuse_factor": 16},
        "a.b": {"strategy": "latency"},
        "c": {"reuse_factor": 4},
    }


def test_adders_by_hand() -> None:
    """7 = 8 - 1 and 5 = 4 + 1 have two digits each, -4 one, 0 none."""
    assert adders(np.array([[7, 5], [-4, 0]])) == 5


def test_look_up_tables_are_those_of_unrolled_layers() -> None:
    graph, backend = integers(images(), {"x": (3, 6, 6)}), Hls4mlBackend()
    found = backend.luts(graph, load_target("hls4ml-vitis"))
    assert found == luts(graph)
    assert found is not None
    conv = next(iter(graph))
    width, weights = graph.operands(conv)[0].format.bits, conv.weight_format.bits  # type: ignore[attr-defined]
    sums = adders(conv.weight) * (width + 0.115 * weights + 0.8)  # type: ignore[attr-defined]
    assert found[conv.name] == pytest.approx(sums + 4 * graph.result(conv).format.bits)
    assert backend.luts(graph, load_target("hls4ml-vitis-stream")) is None
    assert backend.luts(graph, with_layers("conv0=4")) is None
