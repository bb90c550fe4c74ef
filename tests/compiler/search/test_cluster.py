"""The same search on a Dask cluster: a scheduler and workers in processes of their own, some of which are killed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bitsmith.search.cluster import ClusterError
from tests.compiler.search.conftest import Search, by_name
from tests.compiler.search.test_stopped import complete, points_in, wait_for
from tests.conftest import IN_CI

PATIENCE = 60.0

if not IN_CI:
    pytest.importorskip("distributed", reason="dask.distributed is not installed")


@dataclass
class Cluster:
    """A scheduler and its workers. None has a nanny: one that is killed does not come back."""

    address: str
    processes: list[subprocess.Popen[bytes]]
    folder: Path

    @property
    def workers(self) -> list[subprocess.Popen[bytes]]:
        return self.processes[1:]

    def add_worker(self) -> None:
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self.folder)]
        self.processes.append(dask("worker", self.address, *options, folder=self.folder))


def dask(*arguments: str, folder: Path) -> subprocess.Popen[bytes]:
    # Far from the sources: a worker has bitsmith installed, and no file of ours at hand.
    command = [sys.executable, "-m", "dask", *arguments]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "NO_COLOR": "1"}
    )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    told = tmp_path / "scheduler.json"
    away = tmp_path / "away"
    away.mkdir()
    scheduler = dask(
        "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told), folder=away
    )
    found = Cluster("", [scheduler], away)
    try:
        end = time.monotonic() + PATIENCE
        while not found.address:
            assert scheduler.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
            if told.exists() and told.read_text().endswith("}"):
                found.address = json.loads(told.read_text())["address"]
        for _ in range(2):
            found.add_worker()
        yield found
    finally:
        for process in reversed(found.processes):
            process.kill()
            process.wait()


def started(command: list[str], out: Path, cluster: Cluster) -> subprocess.Popen[str]:
    asked = [*command, "-o", str(out), "--cluster", cluster.address, "--quiet"]
    return subprocess.Popen(asked, stderr=subprocess.PIPE, text=True)


def test_killed_workers_lose_nothing(command: list[str], tmp_path: Path, undisturbed: Path, cluster: Cluster) -> None:
    out = tmp_path / "out"
    process = started(command, out, cluster)
    wait_for(lambda: points_in(out) >= 1, process)
    cluster.workers[0].kill()
    wait_for(lambda: points_in(out) >= 3, process)
    # The last one that held the job: the scheduler hands it to whoever comes.
    cluster.workers[1].kill()
    cluster.add_worker()
    _, told = process.communicate()
    assert (process.returncode, told) == (0, "")
    complete(out, undisturbed)


def test_a_cluster_that_is_gone_is_told_in_one_line_and_the_points_are_kept(
    command: list[str], tmp_path: Path, undisturbed: Path, cluster: Cluster
) -> None:
    out = tmp_path / "out"
    process = started(command, out, cluster)
    wait_for(lambda: points_in(out) >= 1, process)
    for one in cluster.processes:
        one.kill()
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert told.startswith("bitsmith: --cluster: the cluster is gone: ")
    assert len(told.splitlines()) == 1
    assert list(by_name(out).values()) == [by_name(undisturbed)[name] for name in by_name(out)]


def test_a_scheduler_that_is_not_there_is_an_error(
    searched: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bitsmith.search.cluster.CONNECT", 1)
    with pytest.raises(ClusterError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"):
        searched(tmp_path / "out", cluster="tcp://127.0.0.1:9")
    with pytest.raises(ClusterError, match="no scheduler answers at nowhere://x"):
        searched(tmp_path / "out", cluster="nowhere://x")


def test_dask_that_is_not_installed_is_an_error(
    searched: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"dask.distributed is not installed. pip install 'bitsmith\[cluster\]'"):
        searched(tmp_path / "out", cluster="tcp://127.0.0.1:9")
