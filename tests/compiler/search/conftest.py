"""A search of the digits model that takes seconds, in this process or as a command."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bitsmith.importing.load import load_graph
from bitsmith.ir.linear import LINEAR, weight_value
from bitsmith.ir.sensitivity import Sensitivity
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.recipe import Recipe
from bitsmith.search.driver import Options, search
from bitsmith.search.point import Point
from bitsmith.search.results import Results
from bitsmith.target import load_target

POINTS = 7
"""Uniform allocations and choices of the program: which they are does not depend on which is measured first."""

Search = Callable[..., Results]


@pytest.fixture(scope="session")
def sensitivity(digits: Path) -> Sensitivity:
    """Losses that need not be measured: a fourth for each bit more."""
    graph = load_graph(digits / "digits.onnx")
    Pipeline.parse(NORMALISE).run(Module(graph, load_target("onnxruntime")))
    names = [weight_value(node).name for node in graph.nodes(*LINEAR)]
    return Sensitivity("made up", {name: {bits: 4.0**-bits for bits in range(2, 9)} for name in names})


@pytest.fixture
def searched(digits: Path, sensitivity: Sensitivity) -> Search:
    """A function that searches the digits model into a folder."""

    def run(out: Path, points: int = POINTS, recipe: Recipe | None = None, **options: object) -> Results:
        names = ("digits.onnx", "calibration.npz", "evaluation.npz")
        model, calibration, data = (digits / name for name in names)
        recipe = recipe or Recipe(effort="fast", sensitivity=sensitivity)
        wanted = Options(points=points, **{"workers": 1, **options})  # type: ignore[arg-type]
        return search(model, "onnxruntime", calibration, data, out, recipe=recipe, options=wanted)

    return run


@pytest.fixture(scope="session")
def command(digits: Path, sensitivity: Sensitivity, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """`bitsmith search` of the digits model, but for the folder."""
    known = tmp_path_factory.mktemp("sensitivity") / "digits.json"
    known.write_text(json.dumps(sensitivity.to_json()))
    paths = ["--calibration", str(digits / "calibration.npz"), "--data", str(digits / "evaluation.npz")]
    given = ["--target", "onnxruntime", "--effort", "fast", "--sensitivity", str(known), "--points", str(POINTS)]
    return [sys.executable, "-m", "bitsmith", "search", str(digits / "digits.onnx"), *paths, *given]


@pytest.fixture(scope="session")
def undisturbed(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search that nothing stopped, on one worker; tests only read it."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    subprocess.run([*command, "-o", str(out), "--workers", "1", "--quiet"], check=True)
    return out


def lines(folder: Path) -> Iterator[dict[str, object]]:
    """The points that stand in a folder, but for how long each took."""
    for line in (folder / "points.jsonl").read_text().splitlines(keepends=True)[1:]:
        if line.endswith("\n"):
            yield {name: value for name, value in json.loads(line).items() if name != "seconds"}


def by_name(folder: Path) -> dict[object, dict[str, object]]:
    """Those points, by name."""
    return {point["name"]: point for point in lines(folder)}


def figures(points: list[Point]) -> dict[str, tuple[float, float]]:
    """Cost and accuracy by name."""
    return {point.name: (point.costs["flash"], point.accuracy) for point in points}
