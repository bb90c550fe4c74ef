"""What a search wrote down is there when it comes back, whatever stopped it."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsmith.allocation.problem import LOSS, Cost, Group, Problem, Row
from bitsmith.errors import ArtifactError
from bitsmith.ir.allocation import Allocation
from bitsmith.search.journal import POINTS, Journal
from bitsmith.search.point import UNIFORM, Candidate, Point, key_of
from tests.compiler.search.points import point

SUBJECT = {"model": "abc", "target": {"name": "t", "bits": (8, 4)}}


@given(st.lists(st.booleans(), max_size=70), st.floats(0, 1), st.one_of(st.floats(-20, 90), st.just(math.inf)))
def test_a_point_survives_json(outcomes: list[bool], accuracy: float, decibels: float) -> None:
    candidate = Candidate("uniform-4", UNIFORM, Allocation({"w": 4}, {"x": 8}), 4)
    made = Point(candidate, {"flash": 12}, accuracy, 0.5, decibels, 2.5, tuple(map(float, outcomes)), tuple(outcomes))
    read = Point.from_json(json.loads(json.dumps(made.to_json(), allow_nan=False)))
    assert read == made
    assert read.outcomes == tuple(outcomes)


def test_the_key_of_an_allocation_does_not_depend_on_the_order_of_names() -> None:
    assert key_of(Allocation({"v": 3, "w": 4})) == key_of(Allocation({"w": 4, "v": 3}))
    assert key_of(Allocation({"v": 3, "w": 4})) != key_of(Allocation({"v": 4, "w": 3}))


def written(folder: Path, count: int) -> list[Point]:
    with Journal(folder, SUBJECT) as journal:
        for index in range(count):
            journal.add(point(index, 0.5, f"p{index}", (True, False, True)))
        return journal.points


def test_points_are_there_again(tmp_path: Path) -> None:
    before = written(tmp_path / "deep" / "out", 3)
    with Journal(tmp_path / "deep" / "out", SUBJECT) as journal:
        assert journal.points == before
        journal.add(point(7, 0.75, "later", (True, False, True)))
    with Journal(tmp_path / "deep" / "out", SUBJECT) as journal:
        assert [one.name for one in journal.points] == ["p0", "p1", "p2", "later"]


def test_wherever_a_kill_cuts_the_file_the_whole_lines_before_are_kept(tmp_path: Path) -> None:
    points = written(tmp_path, 3)
    content = (tmp_path / POINTS).read_bytes()
    starts = [index + 1 for index, byte in enumerate(content) if byte == ord("\n")]
    for length in range(0, len(content), 7):
        (tmp_path / POINTS).write_bytes(content[:length])
        with Journal(tmp_path, SUBJECT) as journal:
            whole = max(sum(start <= length for start in starts) - 1, 0)
            assert journal.points == points[:whole]
            journal.add(point(9, 0.25, "after", (True, False, True)))
        with Journal(tmp_path, SUBJECT) as journal:
            assert [one.name for one in journal.points] == [*(one.name for one in points[:whole]), "after"]


@pytest.mark.parametrize(
    ("subject", "complaint"),
    [
        ({"model": "abd", "target": SUBJECT["target"]}, "holds a search with another model"),
        ({"model": "abc"}, "holds a search with another target"),
        ({**SUBJECT, "seed": 1}, "holds a search with another seed"),
    ],
)
def test_a_search_of_something_else_is_refused(tmp_path: Path, subject: dict[str, Any], complaint: str) -> None:
    written(tmp_path, 1)
    with pytest.raises(ArtifactError, match=complaint):
        Journal(tmp_path, subject)
    assert len(Journal(tmp_path, SUBJECT).points) == 1


@pytest.mark.parametrize(
    "line", ["[]", "{", '{"name": "p"}', '{"name": 3, "origin": null, "allocation": 1, "bits": 1}']
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    written(tmp_path, 1)
    with (tmp_path / POINTS).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ArtifactError, match=r"points\.jsonl: line 3 is no point of a search"):
        Journal(tmp_path, SUBJECT)


def changed(**parts: Any) -> str:
    """The line of a point in which some parts are something else."""
    return json.dumps({**point(7, 0.75, "later", (True, False, True)).to_json(), **parts})


@pytest.mark.parametrize(
    "line",
    [
        changed(name="../../precious"),
        changed(name="/tmp"),
        changed(name=".."),
        changed(name=""),
        changed(name="p0"),
        changed(origin="guess"),
        changed(bits="8"),
        changed(accuracy="0.5"),
        changed(accuracy=True),
        changed(reported=None),
        changed(decibels=10**400),
        changed(seconds=math.nan),
        changed(costs={"flash": [1]}),
        changed(costs={"flash": -1}),
        changed(drift=["x"]),
        changed(drift=[0.5]),
        changed(outcomes="", samples=0),
        changed(outcomes="-1"),
        changed(samples=70),
        changed(samples=3.0),
    ],
)
def test_a_line_that_would_do_harm_later_is_named(tmp_path: Path, line: str) -> None:
    """A name leads nowhere but into the folder, and all else is such as a measurement gives."""
    written(tmp_path, 1)
    with (tmp_path / POINTS).open("a") as file:
        file.write(changed() + "\n")
    with Journal(tmp_path, SUBJECT) as journal:
        assert [one.name for one in journal.points] == ["p0", "later"]
    with (tmp_path / POINTS).open("a") as file:
        file.write(line.replace('"later"', '"other"') + "\n")
    with pytest.raises(ArtifactError, match=r"points\.jsonl: line 4 is no point of a search"):
        Journal(tmp_path, SUBJECT)


def test_a_point_that_no_search_of_the_model_could_come_to_is_named(tmp_path: Path) -> None:
    written(tmp_path, 2)
    cost = Cost((Row(),))
    with Journal(tmp_path, SUBJECT) as journal:
        known = Problem((Group("p0", ("p0",), True, (2, 4)),), {"flash": cost, LOSS: cost}, {})
        journal.require_known(known, "flash")
        for problem, name in ((known, "luts"), (replace(known, groups=(Group("p0", ("p0",), True, (2, 8)),)), "flash")):
            with pytest.raises(ArtifactError, match=r"points\.jsonl: line 2 is no point of a search"):
                journal.require_known(problem, name)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / POINTS).write_text('{"hello": 1}\n')
    with pytest.raises(ArtifactError, match="line 1"):
        Journal(tmp_path, SUBJECT)


def test_two_searches_cannot_write_to_one_folder(tmp_path: Path) -> None:
    with Journal(tmp_path, SUBJECT), pytest.raises(ArtifactError, match="another search is writing"):
        Journal(tmp_path, SUBJECT)
    with Journal(tmp_path, SUBJECT) as journal:
        assert journal.points == []


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be written"):
        Journal(tmp_path / "file" / "out", SUBJECT)
