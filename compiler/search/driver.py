"""Every step of `bitsmith search`, in order: from a float model to a front of measured, compiled points."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bitsmith.allocation.budgets import BUDGETS, CYCLES
from bitsmith.allocation.problem import LOSS, Problem
from bitsmith.allocation.program import solve
from bitsmith.artifact import REPORT
from bitsmith.errors import ArtifactError, PipelineError
from bitsmith.manifest import pretty, write_whole
from bitsmith.metrics import Sqnr
from bitsmith.progress import Progress, silent
from bitsmith.recipe import Recipe
from bitsmith.registry import suggest
from bitsmith.report.front import draw, render
from bitsmith.runners import FloatModel
from bitsmith.search.cluster import ClusterWorkers
from bitsmith.search.job import File, Job, digest, metric_for, mixing
from bitsmith.search.journal import POINTS, Journal
from bitsmith.search.prepare import SENSITIVITY, prepare
from bitsmith.search.results import FRONT, Results
from bitsmith.search.run import Effort, Run
from bitsmith.search.strategy import Strategy, bits_of
from bitsmith.search.trial import score
from bitsmith.search.workers import LocalWorkers, Workers, cores
from bitsmith.target import Target, load_target
from bitsmith.windows import Window, open_samples

PICTURE, SCRATCH = "front.svg", ".scratch"


@dataclass(frozen=True)
class Options:
    """How to search, beside what.

    cost:    what the front is traced against. metric: of accuracy; by default top1 with labels, else sqnr.
    window:  how samples longer than the model's input are cut.
    points:  how many there are to be in all. seconds: after which no more are begun.
    workers: processes of this machine, by default one a core. cluster: the address of a Dask scheduler, instead.
    """

    cost: str = "flash"
    metric: str | None = None
    window: Window | None = None
    points: int = 48
    seconds: float | None = None
    workers: int | None = None
    cluster: str | None = None


def search(
    model: str | os.PathLike[str],
    target: Target | str | os.PathLike[str],
    calibration: str | os.PathLike[str] | None,
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    recipe: Recipe | None = None,
    options: Options | None = None,
    choose_on: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
) -> Results:
    """Trace the front of accuracy against a cost, into the folder `out`.

    There: points.jsonl, front.json, front.svg, report.html, sensitivity.json, and in points/ the artifact of each on
    the front.

    data:      evaluation samples, on which every point is measured.
    recipe:    how points are compiled. What it calls `mixed` is searched; where that is nothing, what the cost depends
               on: weights for flash, activations for ram, else both.
    choose_on: other samples to compare points on while searching, so that the figures on `data` are not flattered.

    A search into a folder that has points of the same search goes on from them. Raises a BitsmithError for anything
    wrong with what it was given; whatever stops it, the points so far are kept.
    """
    options, folder = options or Options(), Path(out)
    wanted = mixing(recipe or Recipe(), options.cost)
    if options.cost not in BUDGETS:
        raise PipelineError(f"there is no cost {options.cost}", where="--cost", fix=suggest(options.cost, BUDGETS))
    chosen = target if isinstance(target, Target) else load_target(target)
    if options.cost == CYCLES and not chosen.cycles:
        raise PipelineError(
            f"target {chosen.name} does not say how many cycles a multiply-accumulate takes",
            where="--cost",
            fix="Name another cost, such as bops, or give --target a file with `cycles`.",
        )
    float_model = FloatModel(model, wanted.input_shapes)
    labelled = open_samples(data, float_model.samples, options.window).has_labels
    job = Job(
        File.read_model(Path(model)),
        None if calibration is None else File.read(Path(calibration)),
        File.read(Path(data)),
        chosen,
        replace(wanted, sensitivity=None),
        metric_for(options.metric, labelled),
        options.window,
        None if choose_on is None else File.read(Path(choose_on)),
    )
    if choose_on is not None:
        open_samples(choose_on, float_model.samples, options.window)
    real = score(float_model, job, Path(data), Path(model))
    _refuse_strangers(folder)
    with Journal(folder, {**job.subject(), "sensitivity": digest(wanted.sensitivity)}) as journal:
        if journal.is_new:
            (folder / SENSITIVITY).unlink(missing_ok=True)
        with _workers(job, options, folder) as workers:
            given = None if calibration is None else Path(calibration)
            problem = prepare(Path(model), given, job.target, wanted, options.cost, folder, progress)
            journal.require_known(problem, options.cost)
            strategy = Strategy(problem, solve, options.cost)
            _refuse_constant(strategy)
            run = Run(journal, workers, progress)
            run.search(strategy, Effort(options.points, options.seconds))
            results = Results(
                journal.points,
                options.cost,
                job.metric,
                None if job.metric == Sqnr.name else real.accuracy,
                choose_on is not None,
                _predicted(problem, journal),
                run.failed,
            )
            run.remake([one.candidate for one in results.front if not (run.artifacts / one.name).is_dir()])
        _remove_beaten(run.artifacts, results)
        told = results.to_json()
        write_whole(folder / FRONT, pretty(told) + "\n")
        write_whole(folder / PICTURE, draw(told))
        write_whole(folder / REPORT, render(told, folder))
    return results


@contextmanager
def _workers(job: Job, options: Options, folder: Path) -> Iterator[Workers]:
    """The workers, stopped at the end whatever happens; what local ones write in passing stays in the folder."""
    scratch = folder / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        workers: Workers
        if options.cluster is not None:
            workers = ClusterWorkers(job, options.cluster)
        else:
            scratch.mkdir()
            workers = LocalWorkers(job, options.workers or cores(), scratch)
        try:
            yield workers
        finally:
            workers.close()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _refuse_strangers(folder: Path) -> None:
    """Refuse a folder that has something in it, but no points of a search."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / POINTS).is_file():
        raise ArtifactError(
            "holds what no search wrote", where=str(folder), fix="Name another folder, or move those files away."
        )


def _refuse_constant(strategy: Strategy) -> None:
    """Refuse a cost that is the same whatever is chosen."""
    cost = strategy.problem.costs[strategy.cost]
    found = {cost.at(bits_of(strategy.problem, anchor.allocation)) for anchor in strategy.anchors()}
    if len(found) < 2:
        raise PipelineError(
            f"{strategy.cost} is the same for all bits that may be chosen",
            where="--cost",
            fix="Give --weights mixed or --activations mixed, or another cost.",
        )


def _predicted(problem: Problem, journal: Journal) -> dict[str, float]:
    return {
        point.name: problem.costs[LOSS].at(bits_of(problem, point.candidate.allocation)) for point in journal.points
    }


def _remove_beaten(artifacts: Path, results: Results) -> None:
    """Remove the artifacts of points that are not on the front; nothing that is no point's."""
    kept = {point.name for point in results.front}
    for point in results.points:
        if point.name not in kept:
            shutil.rmtree(artifacts / point.name, ignore_errors=True)
