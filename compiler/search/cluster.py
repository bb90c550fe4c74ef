"""Candidates measured on a Dask cluster that is there already; Dask does all that a cluster asks for."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Any

from bitsmith.errors import BitsmithError
from bitsmith.search.job import Job
from bitsmith.search.point import Candidate
from bitsmith.search.trial import Trial, run_trial
from bitsmith.search.workers import WorkerError

CONNECT = 15
"""Seconds that a scheduler has to answer."""


class ClusterError(BitsmithError):
    """A cluster that is not there, or that cannot do the work."""


class ClusterWorkers:
    """The workers of a Dask cluster: those that it has at the moment, one candidate to a thread of theirs.

    The job stands in the graph of tasks, which the scheduler holds: whichever worker dies, Dask hands what it was
    doing to another, the job included. What of a candidate comes to nothing time and again ends as `lost`.
    """

    def __init__(self, job: Job, address: str) -> None:
        try:
            import dask
            from distributed import Client
            from distributed.scheduler import KilledWorker
        except ImportError as reason:
            raise ClusterError(
                "dask.distributed is not installed", where="--cluster", fix="pip install 'bitsmith[cluster]'"
            ) from reason
        self.lost: tuple[type[BaseException], ...] = (KilledWorker, CancelledError)
        # It would report each lost connection with a traceback; what matters of that ends as an error of ours.
        for name in ("distributed", "distributed.client", "distributed.utils"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        # A model and its data are megabytes, and meant to be in the graph.
        dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GiB"})
        try:
            self._client = Client(address, timeout=CONNECT, set_as_default=False)
        except (OSError, ValueError) as reason:
            raise ClusterError(
                f"no scheduler answers at {address}: {reason}",
                where="--cluster",
                fix="Start one with `dask scheduler`, and workers with `dask worker`.",
            ) from reason
        try:
            self._require_same_version()
            self._job = self._client.submit(pickle.loads, pickle.dumps(job), pure=False)
            self._executor = self._client.get_executor(pure=False)
        except BaseException:
            self._client.close()
            raise

    def room(self) -> int:
        """One candidate for each thread of the workers that there are."""
        with _reachable():
            threads: dict[str, int] = self._client.nthreads()
        return max(sum(threads.values()), 1)

    def submit(self, candidate: Candidate) -> Future[Trial]:
        with _reachable():
            work: Future[Trial] = self._executor.submit(_measure, self._job, candidate.to_json())
        return work

    def close(self) -> None:
        """Take back what is not done, and leave the cluster as it was."""
        with suppress(OSError):
            self._executor.shutdown(wait=False)
            self._client.close()

    def _require_same_version(self) -> None:
        try:
            found = self._client.run(version, "bitsmith", on_error="return")
        except OSError as reason:
            raise ClusterError(f"its workers do not answer: {reason}", where="--cluster") from reason
        ours = version("bitsmith")
        for worker, theirs in found.items():
            if theirs != ours:
                raise ClusterError(
                    f"the worker at {worker} has bitsmith {theirs}, not {ours}"
                    if isinstance(theirs, str)
                    else f"the worker at {worker} has no bitsmith",
                    where="--cluster",
                    fix=f"Install bitsmith {ours} on every worker.",
                )


@contextmanager
def _reachable() -> Iterator[None]:
    """Tell a scheduler that no longer answers as what it is."""
    try:
        yield
    # Dask's errors of communication are OSErrors; a client that gave up reconnecting raises RuntimeError.
    except (OSError, RuntimeError) as reason:
        raise WorkerError(
            f"the cluster is gone: {str(reason) or type(reason).__name__}",
            where="--cluster",
            fix="The points so far are kept: give the same command again when it is back, or without --cluster.",
        ) from reason


def _measure(job: Job, candidate: Mapping[str, Any]) -> Trial:
    return run_trial(job, candidate)
