"""Kernels for AVX2: vectors on a machine that has them, and their plain C, both under sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from bitsmith import compile, load
from bitsmith.backends.c import CBackend, build, host
from bitsmith.backends.c.capabilities import refusals
from bitsmith.backends.c.kernels.avx2.codes import codes
from bitsmith.backends.c.kernels.avx2.panels import runs
from bitsmith.execution.reals import quantize_inputs
from bitsmith.ir.formats import Format, IntegerType
from bitsmith.ir.integer import Conv, IntegerGraph, Linear
from bitsmith.recipe import Recipe
from bitsmith.target import load_target
from tests.backends.c.agreement import assert_equal
from tests.backends.c.test_helium import side_by_side, strided
from tests.backends.onnxruntime.graphs import conv, linear
from tests.strategies import integer_graphs

TARGET = load_target("x86-64-avx2")
UNSIGNED = Format(IntegerType(8, signed=False), (0.05,), 77)
TWO_BITS = Format(IntegerType(2, signed=False), (0.5,), 0)
SIGNED_TWO = Format(IntegerType(2), (0.5,), -1)
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

CASES = {
    "avx2 words": [
        conv((5, 4), 16, 8, kernel=1),
        conv((1, 1), 2, 33, per_channel=False),
        conv((9,), 33, 5, clamp=(-20, 90)),
        conv((6, 6), 4, 130, kernel=2),
        conv((4, 5), 20, 7, x=UNSIGNED, y=UNSIGNED),
        strided(conv((9, 8), 20, 8), (2, 3), (0, 1, 1, 0)),
        linear((9,)),
        linear((64,), 40),
        linear((1, 7, 33), 17),
    ],
    "avx2 bytes": [
        conv((5, 4), 16, 8, kernel=1, weight_bits=4),
        conv((1, 1), 2, 33, per_channel=False, weight_bits=2),
        conv((9,), 33, 5, x=UNSIGNED, weight_bits=4),
        strided(conv((9, 8), 20, 8, weight_bits=4), (2, 3), (0, 1, 1, 0)),
        linear((70,), 40, weight_bits=4),
        linear((1, 7, 33), 17, x=TWO_BITS, weight_bits=2),
    ],
    "avx2 tables": [
        conv((5, 4), 16, 8, kernel=1, x=TWO_BITS, y=TWO_BITS, weight_bits=2),
        conv((7, 7), 40, 16, x=TWO_BITS, weight_bits=2),
        conv((3, 3), 70, 34, x=SIGNED_TWO, y=SIGNED_TWO, weight_bits=2, clamp=(-1, 1)),
        conv((9,), 33, 6, x=TWO_BITS, y=UNSIGNED, weight_bits=2),
        strided(conv((9, 8), 128, 66, x=TWO_BITS, weight_bits=2), (2, 3), (0, 1, 1, 0)),
        linear((70,), 40, x=TWO_BITS, weight_bits=2),
        linear((1, 5, 2), 100, x=SIGNED_TWO, weight_bits=2),
    ],
}


def shifted(graph: IntegerGraph, span: int) -> IntegerGraph:
    """A graph of one operation, the weights of each output moved by a number of its own, into `span` neighbours."""
    (operation,) = graph.operations
    assert isinstance(operation, Conv | Linear)
    outputs = len(operation.weight)
    lowest = np.random.default_rng(3).integers(-60, 50, outputs).reshape(-1, *[1] * (operation.weight.ndim - 1))
    weight_format = Format(IntegerType(8), operation.weight_format.scale, axis=operation.weight_format.axis)
    weight = lowest + np.abs(operation.weight.astype(np.int64)) % span
    moved = replace(operation, weight=weight, weight_format=weight_format)
    return replace(graph, operations=(moved,))


def spread(graph: IntegerGraph, by: int) -> IntegerGraph:
    """A graph of one operation, its weights so many times as far apart."""
    (operation,) = graph.operations
    assert isinstance(operation, Conv | Linear)
    weight_format = Format(IntegerType(8), operation.weight_format.scale, axis=operation.weight_format.axis)
    moved = replace(operation, weight=operation.weight.astype(np.int64) * by, weight_format=weight_format)
    return replace(graph, operations=(moved,))


CASES["avx2 words"] += [
    spread(conv((5, 4), 20, 6, weight_bits=4), 15),
    spread(linear((1, 7, 33), 17, weight_bits=4), 18),
]
CASES["avx2 tables"] += [
    shifted(conv((5, 4), 40, 16, x=SIGNED_TWO), 4),
    shifted(linear((70,), 40, x=TWO_BITS), 3),
]
CASES["avx2 bytes"] += [
    shifted(conv((5, 4), 20, 6), 16),
    shifted(conv((2, 5), 18, 6, kernel=1, x=UNSIGNED), 9),
]


@pytest.fixture(params=["vectors", "plain C"])
def vectors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """C runs on vectors, or as if this machine had none."""
    if request.param == "plain C":
        monkeypatch.setattr(host, "has_avx2", lambda: False)
    elif not host.has_avx2():
        pytest.skip("this machine has no AVX2")


def families(graph: IntegerGraph) -> set[str]:
    return {step.kernel.family for step in build(graph, TARGET).steps}


@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("family", CASES)
def test_kernels(family: str) -> None:
    graph = side_by_side(CASES[family])
    assert families(graph) == {family}
    assert_equal(graph, target=TARGET)


@settings(max_examples=6, suppress_health_check=SLOW, deadline=None)
@given(graph=integer_graphs(["Conv", "Linear", "Add"], most=3, bits=(8, 4, 2, 2)))
def test_chains(graph: IntegerGraph) -> None:
    assert_equal(graph, target=TARGET)


@pytest.mark.parametrize(
    "graph", [conv((4, 4), 6, 6, groups=6), conv((4, 4), 6, 6, groups=2), linear((3, 4, 9))], ids=str
)
def test_what_they_do_not_do_is_left_to_portable_c(graph: IntegerGraph) -> None:
    (family,) = families(graph)
    assert not family.startswith("avx2")


def test_the_target_is_fine() -> None:
    assert refusals(TARGET) == []
    assert host.vector_flags({"model.c": "int x;"}) == ()


def test_verify_says_where_no_vectors_were_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = linear((9,))
    CBackend().emit(graph, TARGET, tmp_path)
    for has, expected in ((True, None), (False, "x86-64-avx2: run as plain C, for this machine has no AVX2")):
        monkeypatch.setattr(host, "has_avx2", lambda has=has: has)
        trial = CBackend().trial(graph, tmp_path, TARGET)
        assert (trial and trial.found) == expected


def test_its_own_makefile_builds_vectors(tmp_path: Path) -> None:
    if not host.has_avx2() or shutil.which("make") is None:
        pytest.skip("this machine has no AVX2, or no make")
    CBackend().emit(conv((5, 4), 16, 8), TARGET, tmp_path)
    done = subprocess.run(["make", "test"], cwd=tmp_path / "c", capture_output=True, text=True, check=False)
    assert "-mavx2" in done.stdout
    assert "All golden vectors are met." in done.stdout, done.stderr


def test_runs_are_as_long_as_no_sum_passes_the_limit() -> None:
    reaches = np.array([[3, 3, 3, 3, 3, 3, 3], [1, 1, 1, 9, 1, 1, 1]])
    assert runs(reaches, 0, 100, 1) == (7, 1)
    assert runs(reaches, 0, 13, 1) == (4, 2)
    assert runs(reaches, 0, 11, 1) == (3, 3)
    # The last run is filled up, with what reaches far itself.
    assert runs(reaches, 9, 12, 2) == (2, 4)
    assert runs(reaches, 9, 11, 2) is None
    assert runs(reaches, 0, 8, 1) is None


def test_weights_are_codes_about_a_base_where_outputs_share_no_levels() -> None:
    shared = codes(np.array([[-7, 3, 90], [3, 3, -7]], np.int8), 3)
    assert shared is not None
    assert shared.base is None
    assert shared.weights.tolist() == [[-7, 3, 90], [3, 3, -7]]
    own = codes(np.array([[-7, -6, -4], [93, 92, 90]], np.int8), 4)
    assert own is not None
    assert own.base is not None
    assert (own.weights + own.base[:, None]).tolist() == [[-7, -6, -4], [93, 92, 90]]
    assert codes(np.array([[-7, -6, 4], [93, 92, 90]], np.int8), 4) is None


@pytest.mark.parametrize(
    ("weights", "activations", "expected"), [(8, 8, "avx2 words"), (4, 8, "avx2 bytes"), (2, 2, "avx2 tables")]
)
def test_a_trained_model(
    weights: int, activations: int, expected: str, model_file: Callable[[str], Path], tmp_path: Path
) -> None:
    data = model_file("mnist_cnn.calib.npz")
    # Not its accuracy is asked for here.
    recipe = Recipe(effort="fast", weights=weights, activations=activations)
    compile(model_file("mnist_cnn.onnx"), TARGET.name, data, tmp_path / "out", recipe=recipe, explain=False)
    graph = load(tmp_path / "out").graph
    with np.load(data) as samples:
        inputs = quantize_inputs(graph, dict.fromkeys(graph.inputs, samples["x"][:8]))
    assert expected in families(graph)
    assert_equal(graph, inputs, TARGET)
