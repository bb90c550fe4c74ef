"""Whatever is killed, nothing that was measured is lost, and nothing that was begun goes on by itself."""

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from bitsmith.manifest import file_hashes
from tests.compiler.search.conftest import POINTS, by_name

PATIENCE = 60.0


def wait_for(what: object, process: subprocess.Popen[str]) -> None:
    assert callable(what)
    end = time.monotonic() + PATIENCE
    while not what():
        assert process.poll() is None, "the search was over before it could be disturbed"
        assert time.monotonic() < end
        time.sleep(0.01)


def points_in(out: Path) -> int:
    return len(by_name(out)) if (out / "points.jsonl").exists() else 0


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Its processes that measure, not the one that multiprocessing keeps books with."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if any("spawn_main" in part for part in child.cmdline())]


def started(command: list[str], out: Path, workers: int) -> subprocess.Popen[str]:
    asked = [*command, "-o", str(out), "--workers", str(workers), "--quiet"]
    return subprocess.Popen(asked, stderr=subprocess.PIPE, text=True)


def complete(out: Path, undisturbed: Path) -> None:
    """The folder is what it would be had nothing happened."""
    assert by_name(out) == by_name(undisturbed)
    assert file_hashes(out / "points") == file_hashes(undisturbed / "points")
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in undisturbed.iterdir())


def test_what_a_killed_worker_was_measuring_is_measured_again(
    command: list[str], tmp_path: Path, undisturbed: Path
) -> None:
    out = tmp_path / "out"
    process = started(command, out, workers=2)
    wait_for(lambda: points_in(out) >= 2 and len(workers_of(process)) == 2, process)
    workers_of(process)[0].kill()
    assert process.wait() == 0
    assert len(by_name(out)) == POINTS
    complete(out, undisturbed)


def test_a_killed_search_goes_on_from_its_points(command: list[str], tmp_path: Path, undisturbed: Path) -> None:
    out = tmp_path / "out"
    process = started(command, out, workers=2)
    wait_for(lambda: points_in(out) >= 3 and len(workers_of(process)) == 2, process)
    workers = workers_of(process)
    process.kill()
    process.wait()
    before = by_name(out)
    assert 3 <= len(before) < POINTS
    # Their master is gone: they end as well, whatever they were at.
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
    assert alive == []
    assert started(command, out, workers=1).wait() == 0
    after = by_name(out)
    assert {name: after[name] for name in before} == before
    complete(out, undisturbed)


@pytest.mark.parametrize("at_least", [0, 2])
def test_an_interrupted_search_says_so_and_ends_at_once(command: list[str], tmp_path: Path, at_least: int) -> None:
    out = tmp_path / "out"
    process = started(command, out, workers=2)
    wait_for(lambda: points_in(out) >= at_least and len(workers_of(process)) == 2, process)
    workers = workers_of(process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, told
    assert told == "bitsmith: interrupted; the points so far are kept: the same command goes on from them\n"
    assert [worker for worker in workers if worker.is_running()] == []
    assert at_least <= len(by_name(out)) < POINTS
    assert not (out / ".scratch").exists()
