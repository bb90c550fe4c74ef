"""What `bitsmith search` writes and says, held to the points it measured and to compiles by hand."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bitsmith
from bitsmith.artifact import load
from bitsmith.cli import main
from bitsmith.evaluation import evaluate
from bitsmith.ir.sensitivity import Sensitivity
from bitsmith.manifest import file_hashes
from bitsmith.recipe import Recipe
from tests.compiler.search.conftest import POINTS, Search, by_name, figures


@pytest.fixture
def front(undisturbed: Path) -> dict[str, Any]:
    return dict(json.loads((undisturbed / "front.json").read_text()))


def test_every_point_stands_in_the_front_file(undisturbed: Path, front: dict[str, Any]) -> None:
    assert len(front["points"]) == POINTS
    assert {point["name"] for point in front["points"]} == set(by_name(undisturbed))
    costs = [point["costs"]["flash"] for point in front["points"]]
    assert costs == sorted(costs)
    assert [point["name"] for point in front["points"] if point["dominated_by"] is None] == front["front"]
    assert front["metric"] == "top1"


def test_points_on_the_front_have_their_artifacts_and_no_others(undisturbed: Path, front: dict[str, Any]) -> None:
    assert sorted(path.name for path in (undisturbed / "points").iterdir()) == sorted(front["front"])
    for name in front["front"]:
        assert load(undisturbed / "points" / name).damage() == []


def test_the_figures_are_those_of_the_artifacts(undisturbed: Path, front: dict[str, Any], digits: Path) -> None:
    points = {point["name"]: point for point in front["points"]}
    for name in front["front"]:
        folder = undisturbed / "points" / name
        scores = {one.model: one.result for one in evaluate(folder, digits / "evaluation.npz")}
        assert points[name]["accuracy"] == scores["model.qdq.onnx"].value
        distance = evaluate(folder, digits / "evaluation.npz", "sqnr", reference=digits / "digits.onnx")
        assert points[name]["decibels"] == pytest.approx(
            {one.model: one.result for one in distance}["model.qdq.onnx"].value
        )
        assert points[name]["costs"] == pytest.approx(load(folder).manifest["costs"])


def test_a_uniform_point_is_what_compile_gives(undisturbed: Path, digits: Path, tmp_path: Path) -> None:
    (name,) = [path.name for path in (undisturbed / "points").iterdir() if path.name.startswith("uniform")][:1]
    recipe = Recipe(effort="fast", weights=int(name.removeprefix("uniform-")))
    bitsmith.compile(
        digits / "digits.onnx",
        "onnxruntime",
        digits / "calibration.npz",
        tmp_path / "out",
        recipe=recipe,
        explain=False,
    )
    assert file_hashes(tmp_path / "out") == file_hashes(undisturbed / "points" / name)


def test_where_losses_at_a_width_are_not_known_points_have_the_bits_that_they_are_recorded_with(
    searched: Search, sensitivity: Sensitivity, tmp_path: Path
) -> None:
    lacking, *_ = sensitivity.weights
    weights = {**sensitivity.weights, lacking: {2: 0.5, 8: 0.0}}
    recipe = Recipe(effort="fast", sensitivity=replace(sensitivity, weights=weights))
    results = searched(tmp_path / "out", 3, recipe)
    found = {point.name: point.candidate for point in results.points}
    assert set(found["uniform-4"].allocation.weights.values()) == {4, 8}
    for name in {point.name for point in results.front}:
        layers = load(tmp_path / "out" / "points" / name).manifest["layers"]
        compiled = sorted(layer["weight_bits"] for layer in layers if layer["macs"])
        assert compiled == sorted(found[name].allocation.weights.values())
    assert "uniform-4" in {point.name for point in results.front}
    assert found["uniform-4"].said == "uniform-4, weights of 4 and 8 bits"
    assert found["uniform-8"].said == "8 bits everywhere"


def test_outcomes_say_which_samples_were_right(undisturbed: Path, digits: Path) -> None:
    labels = np.load(digits / "evaluation.npz")["y"]
    for point in by_name(undisturbed).values():
        text = f"{int(str(point['outcomes']), 16):0{4 * len(str(point['outcomes']))}b}"[: len(labels)]
        assert point["samples"] == len(labels)
        assert text.count("1") / len(labels) == point["accuracy"]


def test_the_picture_shows_every_point(undisturbed: Path, front: dict[str, Any]) -> None:
    root = ElementTree.fromstring((undisturbed / "front.svg").read_text())
    page = (undisturbed / "report.html").read_text()
    assert all(f'href="points/{best}/report.html"' in page for best in front["front"])
    name = "{http://www.w3.org/2000/svg}"
    shown = [title.text or "" for title in root.iter(f"{name}title")][1:]
    assert {text.split(":")[0] for text in shown} == {point["name"] for point in front["points"]}
    for kind in ("circle", "rect"):
        for mark in root.iter(f"{name}{kind}"):
            x, y = (float(mark.get(key) or mark.get(f"c{key}") or "nan") for key in ("x", "y"))
            assert 0 <= x <= 860
            assert 0 <= y <= 520


def test_a_finished_search_measures_nothing_again_and_more_points_go_on(searched: Search, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = searched(out, points=3)
    before = (out / "points.jsonl").read_bytes()
    assert figures(list(searched(out, points=3).points)) == figures(list(first.points))
    assert (out / "points.jsonl").read_bytes() == before
    more = searched(out, points=5)
    assert len(more.points) == 5
    assert (out / "points.jsonl").read_bytes().startswith(before)


def test_artifacts_that_are_missing_are_made_again(searched: Search, tmp_path: Path) -> None:
    out = tmp_path / "out"
    name = searched(out, points=3).front[-1].name
    hashes = file_hashes(out / "points" / name)
    for path in (out / "points" / name).iterdir():
        path.unlink()
    (out / "points" / name).rmdir()
    searched(out, points=3)
    assert file_hashes(out / "points" / name) == hashes


def test_activations_are_searched_for_ram(searched: Search, undisturbed: Path, front: Any, tmp_path: Path) -> None:
    names = load(undisturbed / "points" / front["front"][0]).graph.values
    known = Sensitivity("made up", {}, {name: {bits: 4.0**-bits for bits in range(2, 9)} for name in names})
    results = searched(tmp_path / "out", 7, Recipe(effort="fast", sensitivity=known), cost="ram")
    mixed = [point.candidate.allocation for point in results.points if point.candidate.bits is None]
    assert mixed
    assert {len(allocation.weights) for allocation in mixed} == {0}
    assert len({point.costs["ram"] for point in results.points}) > 1
    assert len({point.costs["flash"] for point in results.points}) == 1


def test_points_can_be_chosen_on_other_data(command: list[str], digits: Path, tmp_path: Path) -> None:
    with np.load(digits / "evaluation.npz") as data:
        np.savez(tmp_path / "choose.npz", x=data["x"][:200], y=data["y"][:200])
        np.savez(tmp_path / "report.npz", x=data["x"][200:], y=data["y"][200:])
    given = ["--data", tmp_path / "report.npz", "--choose-on", tmp_path / "choose.npz", "--points", 3, "--quiet"]
    assert main([*command[3:], *map(str, given), "-o", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "front.json").read_text())
    assert found["note"].startswith("Points were chosen on other data")
    for point in found["points"]:
        assert {"chosen_by", "accuracy"} <= point.keys()
    for name in found["front"]:
        folder = tmp_path / "out" / "points" / name
        (point,) = [one for one in found["points"] if one["name"] == name]
        for key, file in (("chosen_by", "choose.npz"), ("accuracy", "report.npz")):
            assert point[key] == evaluate(folder, tmp_path / file)[1].result.value


def test_without_labels_it_is_decibels(command: list[str], digits: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "unlabelled.npz", x=np.load(digits / "evaluation.npz")["x"][:50])
    given = ["--data", tmp_path / "unlabelled.npz", "--points", 3, "--quiet"]
    assert main([*command[3:], *map(str, given), "-o", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "front.json").read_text())
    assert (found["metric"], found["float"]) == ("sqnr", None)
    assert all(point["accuracy"] == point["decibels"] for point in found["points"])
    # More bits are nearer to the float model.
    assert found["front"] == ["uniform-2", "uniform-4", "uniform-8"]


def test_time_that_is_up_stops_a_search_after_what_was_begun(searched: Search, tmp_path: Path) -> None:
    results = searched(tmp_path / "out", points=100, seconds=1e-3)
    assert len(results.points) <= 1
