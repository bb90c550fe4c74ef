"""Where candidates are measured: in processes of this machine. Any of them may die at any moment."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bitsmith.errors import BitsmithError
from bitsmith.search.job import Job
from bitsmith.search.point import Candidate
from bitsmith.search.trial import Trial, run_trial

JOB = "job.pickle"

Made = TypeVar("Made")


class WorkerError(BitsmithError):
    """The work cannot go on, for want of workers or because they die of it. The points so far are kept."""

    exit_code = 1


class Workers(Protocol):
    """Measures candidates, several at once.

    lost: what a future ends with if its worker died. Such a candidate may be handed in again.
    """

    lost: tuple[type[BaseException], ...]

    def room(self) -> int:
        """How many candidates may be in work at once, now."""

    def submit(self, candidate: Candidate) -> Future[Trial]:
        """Start to measure a candidate."""

    def close(self) -> None:
        """Stop all work at once."""


class LocalWorkers:
    """Processes of this machine, each on one thread.

    They start at once, and read the job from a file while this process does other things. One executor to a process,
    so that one that is killed takes no other's work with it. All hold one end of a pipe whose other end is here: when
    that closes because this process was killed, they end.
    """

    lost: tuple[type[BaseException], ...] = (BrokenProcessPool,)

    def __init__(self, job: Job, count: int, scratch: Path) -> None:
        self._scratch = scratch
        (scratch / JOB).write_bytes(pickle.dumps(job))
        self._context = multiprocessing.get_context("spawn")
        self._leash, self._hand = self._context.Pipe(duplex=False)
        self._executors = [self._executor() for _ in range(count)]
        self._work: list[Future[Trial] | None] = [None] * count
        self._processes: set[BaseProcess] = set()
        for executor in self._executors:
            self._begun(executor, int)

    def room(self) -> int:
        return len(self._executors)

    def submit(self, candidate: Candidate) -> Future[Trial]:
        """Start on a process that has nothing else to do; there is one as long as no more than `room` are in work."""
        place = next(index for index, work in enumerate(self._work) if work is None or work.done())
        done = self._work[place]
        if done is not None and isinstance(done.exception(), BrokenProcessPool):
            self._executors[place] = self._executor()
        try:
            work = self._handed_in(place, candidate)
        except BrokenProcessPool:
            # It was killed while it had nothing to do.
            self._executors[place] = self._executor()
            work = self._handed_in(place, candidate)
        self._work[place] = work
        return work

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        for process in self._processes:
            process.kill()
        for executor in self._executors:
            executor.shutdown(wait=True, cancel_futures=True)
        self._hand.close()
        self._leash.close()

    def _handed_in(self, place: int, candidate: Candidate) -> Future[Trial]:
        return self._begun(self._executors[place], _measure, candidate.to_json())

    def _begun(self, executor: ProcessPoolExecutor, task: Callable[..., Made], *arguments: object) -> Future[Made]:
        """Submit a task, and take note of the process that this may have started."""
        before = set(multiprocessing.active_children())
        with _interrupts_wait():
            work = executor.submit(task, *arguments)
            self._processes |= set(multiprocessing.active_children()) - before
        return work

    def _executor(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, self._context, initializer=_begin, initargs=(self._scratch, self._leash))


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Put an interrupt off until the block ends: no process is started by halves, and none that starts sees it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    # A process inherits what is blocked where it is started.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        for number in held:
            signal.raise_signal(number)


_job: list[Job] = []


def _begin(scratch: Path, leash: Connection) -> None:
    """What a process does first."""
    # An interrupt at the terminal reaches all processes; the one that started them decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(leash,), daemon=True).start()
    tempfile.tempdir = str(scratch)
    _job[:] = [pickle.loads((scratch / JOB).read_bytes())]


def _end_with(leash: Connection) -> None:
    try:
        leash.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


def _measure(candidate: Mapping[str, Any]) -> Trial:
    return run_trial(_job[0], candidate)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
