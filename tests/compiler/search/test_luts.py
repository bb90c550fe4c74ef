"""A search by look-up tables, which are estimated, of a circuit: what comes out of it is what was measured of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitsmith.artifact import load
from bitsmith.recipe import Recipe
from bitsmith.search.driver import Options, search
from bitsmith.search.point import PROGRAM
from bitsmith.target import load_target


def test_a_circuit_is_searched_by_what_it_takes(repository: Path, tmp_path: Path) -> None:
    jets = repository / "models" / "toy_jets"
    with np.load(jets / "evaluation.npz") as data:
        np.savez(tmp_path / "some.npz", x=data["x"][:300], y=data["y"][:300])
    target = replace(load_target("rtl"), weight_bits=(5, 3), activation_bits=(5, 3))
    options = Options(cost="luts", points=3, workers=1)
    recipe = Recipe(effort="fast")
    given = (jets / "calibration.npz", tmp_path / "some.npz", tmp_path / "out")
    results = search(jets / "jets.onnx", target, *given, recipe=recipe, options=options)
    found = {point.name: point for point in results.points}
    narrow, wide = found["uniform-3"], found["uniform-5"]
    (mixed,) = (point for point in results.points if point.candidate.origin == PROGRAM)
    assert narrow.costs["luts"] < mixed.costs["luts"] <= wide.costs["luts"]
    widths = {*mixed.candidate.allocation.weights.values(), *mixed.candidate.allocation.activations.values()}
    assert widths == {3, 5}
    for point in results.front:
        artifact = load(tmp_path / "out" / "points" / point.name)
        told = artifact.backend.luts(artifact.graph, target)
        assert told is not None
        assert point.costs["luts"] == pytest.approx(sum(told.values()), abs=1)
