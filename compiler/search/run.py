"""The search: measure what the strategy proposes, on as many workers as there are, and keep each point at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path

from bitsmith.errors import BitsmithError
from bitsmith.folder import replacing
from bitsmith.progress import Progress, silent
from bitsmith.search.journal import Journal
from bitsmith.search.point import Candidate, Point
from bitsmith.search.strategy import Strategy
from bitsmith.search.trial import Trial, unpack
from bitsmith.search.workers import WorkerError, Workers

ATTEMPTS = 3
"""Times that a candidate is handed to a worker before its death is taken for the candidate's fault."""

PATIENCE = 1.0
"""Seconds between two looks at the clock and at how many workers there are."""

ARTIFACTS = "points"


@dataclass(frozen=True)
class Effort:
    """When to stop: after so many points in all, or so many seconds of this run; what was begun is finished."""

    points: int
    seconds: float | None = None


@dataclass
class Run:
    """One run of a search: candidates out, points in.

    journal: where points are kept. Their artifacts go into the folder ARTIFACTS beside it.
    failed:  candidates that could not be compiled, by name, and why: an accumulator may not fit, say.
    """

    journal: Journal
    workers: Workers
    progress: Progress = silent
    failed: dict[str, str] = field(default_factory=dict)
    _failed: list[Candidate] = field(default_factory=list)
    _work: dict[Future[Trial], Candidate] = field(default_factory=dict)
    _lost: dict[str, int] = field(default_factory=dict)
    _start: float = field(default_factory=time.monotonic)

    def search(self, strategy: Strategy, effort: Effort) -> None:
        """Measure until there are enough points, time is up, or nothing is left to propose."""
        before = len(self.journal.points)
        while True:
            self._tell(effort, before)
            while self._may_begin(effort):
                found = strategy.propose(self.journal.points, [*self._work.values(), *self._failed])
                if found is None:
                    break
                self._submit(found)
            if not self._work:
                return
            for point in self._finished():
                self.journal.add(point)

    def remake(self, candidates: Sequence[Candidate]) -> None:
        """Compile candidates again whose artifacts are not there; their points are known already."""
        waiting = list(candidates)
        while waiting or self._work:
            while waiting and len(self._work) < self.workers.room():
                self._submit(waiting.pop(0))
            deque(self._finished(), maxlen=0)

    @property
    def artifacts(self) -> Path:
        """The folder of all artifacts."""
        return self.journal.path.parent / ARTIFACTS

    def _may_begin(self, effort: Effort) -> bool:
        if effort.seconds is not None and time.monotonic() - self._start >= effort.seconds:
            return False
        begun = len(self.journal.points) + len(self._work)
        return begun < effort.points and len(self._work) < self.workers.room()

    def _submit(self, candidate: Candidate) -> None:
        self._work[self.workers.submit(candidate)] = candidate

    def _finished(self) -> Iterator[Point]:
        """Wait a little; the points of what has been measured since, each as soon as its artifact is on disk."""
        done, _ = wait(self._work, timeout=PATIENCE, return_when=FIRST_COMPLETED)
        for work in done:
            candidate = self._work.pop(work)
            try:
                trial = work.result()
            except self.workers.lost as reason:
                self._again(candidate, reason)
                continue
            except BitsmithError as reason:
                # Whatever is wrong with all candidates is wrong with the first.
                if not self.journal.points:
                    raise
                self._failed.append(candidate)
                self.failed[candidate.name] = str(reason)
                continue
            with replacing(self.artifacts / candidate.name) as folder:
                unpack(trial.artifact, folder)
            yield Point.from_json(trial.point)

    def _again(self, candidate: Candidate, reason: BaseException) -> None:
        """Hand in once more what a dying worker left."""
        self._lost[candidate.key] = self._lost.get(candidate.key, 0) + 1
        if self._lost[candidate.key] >= ATTEMPTS:
            raise WorkerError(
                f"{ATTEMPTS} workers died while they measured {candidate.name}",
                fix="If memory is short, give fewer --workers. The points so far are kept.",
            ) from reason
        self._submit(candidate)

    def _tell(self, effort: Effort, before: int) -> None:
        """How far this run is; what was there before took none of its time."""
        done = len(self.journal.points) - before
        task = f"search, from {before} points on" if before else "search"
        if effort.points > before and effort.seconds is None:
            self.progress(task, done, effort.points - before)
        elif effort.seconds is not None:
            spent = min(time.monotonic() - self._start, effort.seconds)
            share = max(spent / effort.seconds, done / max(effort.points - before, 1))
            self.progress(task, round(100 * share), 100)
