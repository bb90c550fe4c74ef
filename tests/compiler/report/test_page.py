"""The page: made from the manifest alone, whole, small, and harmless whatever names are in it."""

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitsmith.cli import main
from bitsmith.errors import ArtifactError
from bitsmith.manifest import read_manifest
from bitsmith.report import render, write_report
from bitsmith.report.layers import layers_of
from tests.compiler.report.conftest import Manifest

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """What a page is made of: its elements with their attributes, and what is not closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def count(self, tag: str) -> int:
        return sum(found == tag for found, _ in self.elements)


@pytest.fixture
def copied(compiled: Path, tmp_path: Path) -> Path:
    return shutil.copytree(compiled, tmp_path / "copied")


def test_the_page_is_well_formed_and_needs_nothing_else(manifest: Manifest) -> None:
    page = Page(render(manifest))
    assert not page.wrong
    assert not page.open
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for _, attributes in page.elements:
        assert not {"src", "srcset", "data", "action"} & set(attributes)
        link = attributes.get("href")
        assert link is None or (link.startswith("#") and link[1:] in names)
        for other in (attributes.get("aria-labelledby") or "").split():
            assert other in names
    assert page.count("table") == page.count("caption")
    assert page.count("h1") == page.count("title") - sum(tag == "title" for tag, _ in page.elements[8:]) == 1


def test_bits_of_ternary_weights_are_no_whole_number(manifest: Manifest) -> None:
    layers = [layer for layer in manifest["layers"] if layer["weight_bits"]]
    layers[0]["weight_bits"] = 1.6
    text = render(manifest)
    assert set(re.findall(r": Conv, ([\d.]+)-bit weights", text)) == {"1.6", "4"}
    assert text.count('<td class="n">1.6 bits</td>') == 1
    assert text.count('<td class="n">4 bits</td>') == len(layers) - 1


def test_every_table_of_the_manifest_may_hold_hostile_names(manifest: Manifest) -> None:
    hostile = "</script></style>\"'><script>alert(1)</script><b onclick=alert(2)>&amp;\x00\u202e{{ 7 * 7 }}"

    def spoil(value: Any) -> Any:
        if isinstance(value, dict):
            return {name if name in kept else f"{name}{hostile}": spoil(one) for name, one in value.items()}
        if isinstance(value, list):
            return [spoil(one) for one in value]
        return f"{value}{hostile}" if isinstance(value, str) and value not in kept else value

    named = {name for table in ("costs", "budgets") for name in manifest[table]}
    shapes = ("layers", "values", "weights", "explain", "spreads", "choices", "memory", "passes", "verification")
    names = {layer[key] for layer in manifest["layers"] for key in ("name", "output")} | {"x", "y"}
    kept = _keys(manifest) - names | named | {"calibration"}
    spoiled = {
        **manifest,
        **{name: spoil(manifest[name]) for name in (*shapes, "inputs", "outputs", "model", "target")},
    }
    before, after = render(manifest), render(spoiled)
    assert "alert(1)" in after
    assert "49" not in after.replace("{{ 7 * 7 }}", "") or "49" in before
    page, whole = Page(after), Page(before)
    assert not page.wrong
    assert page.count("script") == 1
    assert page.count("b") == whole.count("b")
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in whole.elements]
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    return set().union(*map(_keys, value)) if isinstance(value, list) else set()


def test_the_page_is_made_again_from_the_folder_alone(copied: Path) -> None:
    before = (copied / "report.html").read_bytes()
    manifest = (copied / "manifest.json").read_bytes()
    for file in [*copied.rglob("*")]:
        if file.is_file() and file.name != "manifest.json":
            file.unlink()
    write_report(copied)
    assert (copied / "report.html").read_bytes() == before
    assert (copied / "manifest.json").read_bytes() == manifest


@pytest.mark.parametrize(("layers", "most"), [(100, 1_000_000), (1000, 1_500_000)])
def test_pages_of_large_models_stay_small(grown: Callable[[int], Manifest], layers: int, most: int) -> None:
    page = render(grown(layers))
    assert len(page.encode()) < most
    found = Page(page)
    assert sum(a.get("id", "").startswith("row-") for _, a in found.elements if a.get("id")) == layers
    boxes = sum(a.get("class") == "box" for _, a in found.elements)
    assert boxes <= 162
    told = sum((a.get("class") or "").startswith("layer ") for _, a in found.elements)
    assert told == layers if layers <= 160 else 50 <= told <= 100


def test_a_manifest_that_lacks_something_is_refused_by_name_or_shown_without_it(copied: Path, tmp_path: Path) -> None:
    whole = json.loads((copied / "manifest.json").read_text())
    refused: list[tuple[str, str]] = []
    for name in whole:
        for other in (None, 7, "text", [1], {"a": [None]}):
            (copied / "manifest.json").write_text(json.dumps({**whole, name: other}))
            try:
                write_report(copied, tmp_path / "page.html")
            except ArtifactError as fault:
                refused.append((name, fault.where))
    assert {"layers", "values", "target", "format", "files"} <= {name for name, _ in refused}
    assert {where for _, where in refused} == {str(copied / "manifest.json")}
    assert not {"seed", "allocation", "sensitivity", "pipeline"} & {name for name, _ in refused}


@pytest.mark.parametrize("name", ["command", "memory", "spreads", "choices", "explain", "program", "distance"])
def test_what_a_manifest_does_not_tell_is_left_out(manifest: Manifest, name: str) -> None:
    whole = Page(render(manifest))
    for without in ({key: value for key, value in manifest.items() if key != name}, {**manifest, name: None}):
        page = Page(render(without))
        assert not page.wrong
        assert len(page.elements) < len(whole.elements) or not manifest[name]


def test_a_figure_that_is_not_taken_again_is_not_that_of_an_earlier_pass(manifest: Manifest) -> None:
    figures = {"weights_db": 30.0, "activation_db": None, "output_db": 20.0}
    name = manifest["layers"][0]["name"]
    later = [{**figures, "weights_db": 35.0, "output_db": None}, dict.fromkeys(figures)]
    manifest["explain"]["passes"] = [
        {"pass": f"p{index}", "layers": {name: told}} for index, told in enumerate([figures, figures, *later])
    ]
    first, second, *_ = layers_of(manifest)
    assert [(look.after, look.weights, look.output) for look in first.looks] == [("p0", 30.0, 20.0), ("p2", 35.0, None)]
    assert first.alone is None
    assert second.looks == ()
    assert not Page(render(manifest)).wrong


def test_accuracy_is_measured_on_demand_and_kept(
    copied: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", str(digits / "evaluation.npz"), "--float", str(digits / "digits.onnx")]
    assert "has not been measured" in (copied / "report.html").read_text()
    assert main(["report", str(copied), *given, "--quiet"]) == 0
    kept = read_manifest(copied)["accuracy"]
    capsys.readouterr()
    for model, name in ((digits / "digits.onnx", "float"), (copied, "compiled")):
        assert main(["evaluate", str(model), *given[:2], "--json"]) == 0
        score = json.loads(capsys.readouterr().out)["scores"][-1]
        assert kept[name] == score
        assert f"{100 * score['value']:.2f} %" in (copied / "report.html").read_text()
    assert "has not been measured" not in (copied / "report.html").read_text()
    assert main(["verify", str(copied), "--quiet"]) == 0


def test_another_float_model_is_refused(copied: Path, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--data", str(digits / "evaluation.npz"), "--float", str(copied / "integer.onnx")]
    assert main(["report", str(copied), *given]) == 2
    assert "is not the model that was compiled" in capsys.readouterr().err
    assert main(["report", str(copied), *given[2:]]) == 2
    assert "--float has no effect without --data" in capsys.readouterr().err
    assert main(["report", str(copied), *given[:2], "--float", "missing.onnx"]) == 2
    assert "missing.onnx: cannot be read: No such file" in capsys.readouterr().err


def test_a_link_to_the_model_is_the_model(copied: Path, digits: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.onnx"
    link.symlink_to((digits / "digits.onnx").resolve())
    given = ["--data", str(digits / "evaluation.npz"), "--float", str(link)]
    assert main(["report", str(copied), *given, "--quiet"]) == 0
    assert read_manifest(copied)["accuracy"]["float"]["value"] > 0.9


def test_without_labels_a_float_model_is_asked_for(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "bare.npz", x=np.zeros((2, 1, 8, 8), np.float32))
    assert main(["report", str(copied), "--data", str(tmp_path / "bare.npz")]) == 2
    assert "Give --float MODEL.onnx, or save labels as y." in capsys.readouterr().err
