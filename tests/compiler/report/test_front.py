"""The page of a search, from its front.json."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from bitsmith.cli import main
from bitsmith.errors import ArtifactError
from bitsmith.ir.allocation import Allocation
from bitsmith.report import write_report
from bitsmith.report.front import draw
from bitsmith.search.point import PROGRAM, UNIFORM, Candidate, Point
from bitsmith.search.results import Results
from tests.compiler.report.test_page import Page


@pytest.fixture
def front() -> dict[str, Any]:
    """Two uniform widths that nearly coincide, and a mixed one between them."""

    def point(name: str, origin: str, bits: tuple[int, int], flash: float, accuracy: float) -> Point:
        candidate = Candidate(name, origin, Allocation({"a<b": bits[0], "c": bits[1]}), bits[0])
        return Point(candidate, {"flash": flash}, accuracy, accuracy, 20.0, 1.0)

    points = [
        point("uniform-4", UNIFORM, (4, 4), 1000, 0.80),
        point("flash-1500", PROGRAM, (4, 8), 1500, 0.90),
        point("uniform-7", UNIFORM, (7, 7), 1990, 0.905),
        point("uniform-8", UNIFORM, (8, 8), 2000, 0.91),
    ]
    return Results(points, "flash", "top1", 0.92, False, dict.fromkeys([one.name for one in points], 0.1)).to_json()


def test_the_page_tells_every_point_of_the_front_and_its_bits(front: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "front.json").write_text(json.dumps(front))
    kept = tmp_path / "points" / "flash-1500" / "report.html"
    kept.parent.mkdir(parents=True)
    kept.write_text("")
    assert main(["report", str(tmp_path), "--quiet"]) == 0
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert not page.wrong
    assert [a["href"] for tag, a in page.elements if tag == "a"] == ["points/flash-1500/report.html"]
    for needle in ("90.00 %", "1,500 bytes", "the float model: 92.00 %", "a&lt;b"):
        assert needle in text
    assert "a<b" not in text


def test_bits_of_ternary_weights_are_no_whole_number(front: dict[str, Any], tmp_path: Path) -> None:
    mixed = next(point for point in front["points"] if point["name"] == "flash-1500")
    mixed["allocation"]["weights"] = {"a<b": 1.6, "c": 8}
    (tmp_path / "front.json").write_text(json.dumps(front))
    text = write_report(tmp_path, tmp_path / "page.html").read_text()
    assert '<td class="n">1.6 <span' in text
    assert '<td class="n">8 <span' in text


def test_links_lead_from_where_the_page_is(front: dict[str, Any], tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "a #1", tmp_path / "pages"
    kept = folder / "points" / "flash-1500" / "report.html"
    kept.parent.mkdir(parents=True)
    elsewhere.mkdir()
    kept.write_text("")
    (folder / "front.json").write_text(json.dumps(front))
    page = Page(write_report(folder, elsewhere / "page.html").read_text())
    (link,) = [a["href"] or "" for tag, a in page.elements if tag == "a"]
    assert (elsewhere / unquote(link)).resolve() == kept
    assert "#" not in link


def test_accuracy_is_not_measured_of_a_search(
    front: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "front.json").write_text(json.dumps(front))
    assert main(["report", str(tmp_path), "--data", "evaluation.npz"]) == 2
    assert "is of a search, whose points were measured already" in capsys.readouterr().err


def test_labels_that_would_overlap_are_one(front: dict[str, Any]) -> None:
    root = ElementTree.fromstring(draw(front))
    texts = [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text.endswith(" bits")] == ["4 bits", "7, 8 bits"]


def test_a_front_of_another_version_is_refused(front: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "front.json").write_text(json.dumps({**front, "format": "other"}))
    with pytest.raises(ArtifactError, match="is no front of this version"):
        write_report(tmp_path)
    for lacking in ({"points": []}, {"points": [], "front": []}, {"front": []}):
        (tmp_path / "front.json").write_text(json.dumps({**front, **lacking, "float": None}))
        with pytest.raises(ArtifactError, match="is incomplete"):
            write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
