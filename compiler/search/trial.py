"""One measurement: compile an allocation, run what the backend wrote on the evaluation data, and hand both back.

It runs in a worker, maybe on another machine. So all it needs travels by content, and so does what it makes.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith.artifact import Artifact
from bitsmith.dataset import Dataset
from bitsmith.driver import compile
from bitsmith.evaluation import feed
from bitsmith.execution.drift import Drift
from bitsmith.execution.threads import limit_session_threads, one_blas_thread
from bitsmith.importing.load import load_graph
from bitsmith.manager import Pipeline
from bitsmith.metrics import METRICS, Sqnr, Top1
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.runners import BackendModel, FloatModel, Runner
from bitsmith.search.job import Job
from bitsmith.search.point import Candidate, Point
from bitsmith.windows import open_samples

SAMPLES = 512
"""Calibration samples on which outputs are compared, at most."""

MOST_DECIBELS = 200.0
"""Stands for outputs that do not differ at all, where accuracy is a ratio in decibels."""


@dataclass(frozen=True)
class Trial:
    """A measured point as JSON, and the compiled folder as a tar archive."""

    point: Mapping[str, Any]
    artifact: bytes


def run_trial(job: Job, candidate: Mapping[str, Any]) -> Trial:
    """Compile and evaluate a candidate, given as JSON; on one thread, since workers stand side by side."""
    limit_session_threads(1)
    start = time.perf_counter()
    with one_blas_thread(), TemporaryDirectory(prefix="bitsmith-") as name:
        folder, chosen = Path(name), Candidate.from_json(candidate)
        model = job.model.write(folder / "model")
        calibration = None if job.calibration is None else job.calibration.write(folder / "calibration")
        out = folder / "out"
        artifact = compile(model, job.target, calibration, out, recipe=job.recipe_for(chosen), explain=False)
        runner = BackendModel(artifact)
        reported = score(runner, job, job.data.write(folder / "data"), model)
        compared = reported
        if job.choose_on is not None:
            compared = score(runner, job, job.choose_on.write(folder / "choose"), model)
        point = Point(
            chosen,
            artifact.manifest["costs"],
            compared.accuracy,
            reported.accuracy,
            reported.decibels,
            time.perf_counter() - start,
            () if calibration is None else _rounded(_drift(job, model, calibration).of(artifact.graph)),
            reported.outcomes,
        )
        return Trial(point.to_json(), packed(artifact))


def _rounded(drift: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """As it is kept: to four digits, of which none but the first says much."""
    return tuple(float(f"{nats:.4g}") for nats in drift)


_drifts: dict[tuple[str, str], Drift] = {}


def _drift(job: Job, model: Path, calibration: Path) -> Drift:
    """What the float network makes of the calibration data, kept in this process for one candidate after another."""
    known = job.model.sha256, "" if job.calibration is None else job.calibration.sha256
    if known not in _drifts:
        graph = load_graph(model, job.recipe.input_shapes)
        Pipeline.parse(NORMALISE).run(Module(graph, job.target))
        samples = {value.name: value.sample_shape for value in graph.inputs}
        data = Dataset.open(calibration, samples).take(SAMPLES)
        _drifts.clear()
        # The file is gone when this candidate is done.
        _drifts[known] = Drift(graph, Dataset.from_arrays(next(data.batches(SAMPLES))))
    return _drifts[known]


@dataclass(frozen=True)
class Scored:
    """What a model scored on some data: in the metric, in decibels against the float model, and sample by sample."""

    accuracy: float
    decibels: float
    outcomes: tuple[bool, ...] = ()


def score(runner: Runner, job: Job, data: Path, model: Path) -> Scored:
    """Run a model on the data beside the float model."""
    dataset = open_samples(data, runner.samples, job.window)
    name = job.metric if dataset.has_labels or not METRICS[job.metric].needs_labels else Sqnr.name
    metric, distance = METRICS[name](), Sqnr()
    feed(dataset, [runner], [[metric, distance]], FloatModel(model, job.recipe.input_shapes), job.window)
    outcomes = tuple(map(bool, metric.outcomes())) if isinstance(metric, Top1) else ()
    return Scored(min(metric.result().value, MOST_DECIBELS), distance.result().value, outcomes)


def packed(artifact: Artifact) -> bytes:
    """The files of a compiled folder as a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        archive.add(artifact.folder, arcname=".")
    return buffer.getvalue()


def unpack(artifact: bytes, folder: Path) -> None:
    """Write the files of a compiled folder; nothing outside of it, whatever the archive says."""
    with tarfile.open(fileobj=io.BytesIO(artifact), mode="r:gz") as archive:
        archive.extractall(folder, filter="data")
