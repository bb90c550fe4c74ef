"""Trained networks as firmware: C simulation equal to the interpreter in every element."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitsmith import compile, load
from bitsmith.recipe import Recipe
from tests.backends.hls4ml.agreement import assert_simulates


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up inputs of the jet networks, which come without data."""
    path = tmp_path_factory.mktemp("jets") / "features.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(256, 16)).astype(np.float32))
    return path


@pytest.mark.parametrize(
    ("model", "target"), [("jet_mlp_3layer_NODATA", "hls4ml-vitis"), ("jet_mlp_3layer_bn_NODATA", "hls4ml-quartus")]
)
def test_jets(model: str, target: str, model_file: Callable[[str], Path], features: Path, tmp_path: Path) -> None:
    recipe = Recipe(weights=6, activations=6, effort="fast")
    compile(model_file(f"{model}.onnx"), target, features, tmp_path / "out", recipe=recipe, explain=False)
    artifact = load(tmp_path / "out")
    assert_simulates(artifact.graph, tmp_path / "out")
    assert not artifact.damage()
    assert (tmp_path / "out" / "hls4ml" / "firmware" / "bitsmith_model.cpp").is_file()
