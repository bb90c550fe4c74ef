"""Mutated files in the folder of a search: its points, and what it found."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from bitsmith.allocation.problem import LOSS, Cost, Group, Problem, Row
from bitsmith.ir.allocation import Allocation
from bitsmith.report import front, write_report
from bitsmith.search.journal import POINTS, Journal
from bitsmith.search.point import PROGRAM, SWAP, UNIFORM, Candidate, Point
from bitsmith.search.results import FRONT, Results
from bitsmith.search.run import ARTIFACTS
from bitsmith.search.strategy import Strategy
from tests.fuzz.fuzz_target import FuzzTarget
from tests.fuzz.mutations import json_of, lines_of

SUBJECT = {"model": "abc", "recipe": None, "target": {"name": "t"}}
COST = "flash"


def _problem() -> Problem:
    """Two weights and an input, each of three widths."""
    groups = tuple(Group(name, (name,), name != "x", (2, 4, 8)) for name in ("w", "v", "x"))
    flash = Row(100, {name: {2: 20, 4: 40, 8: 80} for name in ("w", "v")})
    loss = Row(0, {group.name: {2: 0.5, 4: 0.1, 8: 0.0} for group in groups})
    return Problem(groups, {COST: Cost((flash,)), "ram": Cost((Row(64),)), LOSS: Cost((loss,))}, {})


def _points(count: int) -> Iterator[Point]:
    chosen = ((8, 8), (4, 4), (2, 2), (4, 2), (8, 4))
    for index, (w, v) in enumerate(chosen[:count]):
        origin = UNIFORM if w == v else SWAP if w == 4 else PROGRAM
        candidate = Candidate(f"{origin}-{w}{v}", origin, Allocation({"w": w, "v": v}, {"x": 8}), w if w == v else None)
        costs = {COST: 100 + 10 * (w + v), "ram": 64.0}
        right = tuple(bool((sample + index) % 3) for sample in range(9))
        drift = tuple(0.5**w * (1 + sample) for sample in range(4))
        yield Point(candidate, costs, sum(right) / 9, sum(right) / 9, 6.0 * w, 1.25, drift, right)


def journals() -> Iterator[bytes]:
    """Searches that got as far as no point, one, and five."""
    for count in (0, 1, 5):
        with tempfile.TemporaryDirectory(prefix="bitsmith-fuzz-") as place:
            with Journal(Path(place), SUBJECT) as journal:
                for point in _points(count):
                    journal.add(point)
            yield (Path(place) / POINTS).read_bytes()


def go_on(given: bytes) -> None:
    """Go on from a search's points as far as that takes no compile, and write down what was found."""
    problem = _problem()
    with tempfile.TemporaryDirectory(prefix="bitsmith-fuzz-") as place:
        folder = Path(place)
        (folder / POINTS).write_bytes(given)
        with Journal(folder, SUBJECT) as journal:
            journal.require_known(problem, COST)
            points = journal.points
        Strategy(problem, lambda limited: None, COST).propose(points, [])
        for point in points:
            # Folders of these names are written and removed.
            assert (folder / ARTIFACTS / point.name).resolve().parent == (folder / ARTIFACTS).resolve()
        if points:
            _tell(points, folder)


def _tell(points: Sequence[Point], folder: Path) -> None:
    told = Results(points, COST, "top1", 0.9, False, {point.name: 0.5 for point in points}).to_json()
    told = json.loads(json.dumps(told, allow_nan=False))
    front.draw(told)
    front.render(told, folder)


@cache
def _fronts() -> tuple[bytes, ...]:
    found = []
    for held_out, real in ((False, 0.9), (True, None)):
        points = list(_points(5))
        results = Results(points, COST, "top1", real, held_out, {point.name: 0.5 for point in points}, {"a": "failed"})
        found.append(json.dumps(results.to_json()).encode())
    return tuple(found)


def report_search(given: bytes) -> None:
    """Write the page of a search again."""
    with tempfile.TemporaryDirectory(prefix="bitsmith-fuzz-") as place:
        (Path(place) / FRONT).write_bytes(given)
        write_report(place, Path(place, "again.html"))


_WORDS = (
    "w",
    "v",
    "x",
    COST,
    "ram",
    UNIFORM,
    PROGRAM,
    "uniform-88",
    "../x",
    "/",
    "..",
    "0a",
    "2",
    "8",
    "points",
    "front",
)

JOURNAL = FuzzTarget(journals, go_on, lines_of(json_of(_WORDS)))
FRONT_FILE = FuzzTarget(_fronts, report_search, json_of(_WORDS))
