"""Mixed bits against uniform ones at equal size, each compiled several times: what an allocation does, luck apart.

Rounding has luck in it. The same bits compiled on the same calibration samples in another order give integers that are
as good, but right and wrong on other evaluation samples; where few of these are at stake, that luck hides what bits do.
So for each uniform allocation and what came nearest to the float network at its size (`tests.benchmarks.search`, by
calibration data alone), both are compiled with as many orders of the calibration samples as there are seeds. Of every
evaluation sample it is counted how often each was right, and how often each gave it the class that the float network
gives it: where that one is wrong, to be right is luck. The test is for paired samples: by how much the two differ in
the mean, against the same with the two exchanged at random sample by sample (with one seed it is McNemar's), two-sided.
A star stands at what holds by Holm's bounds over the rows of a model, for each of the two.

Log loss would be finer than right or wrong, but says something else: these networks are surer of evaluation samples
than they are right, so that it falls with whatever makes outputs smaller, such as few bits.

usage: python -m tests.benchmarks.repeated FOLDER [--target T] [--what weights] [--seeds 8] [MODEL ...]

FOLDER is what `python -m tests.benchmarks.search --out FOLDER` kept for that target.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import permutation_test

from bitsmith.artifact import load
from bitsmith.dataset import Dataset
from bitsmith.ir.allocation import Allocation
from bitsmith.recipe import Recipe
from bitsmith.recipe_file import MIXED
from bitsmith.runners import BackendModel, FloatModel, Runner
from bitsmith.search.job import File, Job
from bitsmith.search.point import PROGRAM, UNIFORM, Candidate, Point
from bitsmith.search.trial import Trial, unpack
from bitsmith.search.workers import LocalWorkers, cores
from bitsmith.target import load_target
from tests.benchmarks.common import markdown, model_files
from tests.benchmarks.search import MODELS, beyond_luck

Reals = npt.NDArray[np.float64]

RECIPES = {"weights": Recipe(weights=MIXED), "activations": Recipe(weights=8, activations=MIXED)}

RESAMPLES, BATCH = 99_999, 500
"""Of the test: exchanges that are tried, and how many at a time."""

HEADER = ["model", "uniform", "size", "loses", "mixed: size", "top-1", "mixed", "p", "as float", "mixed", "p"]


@dataclass(frozen=True)
class Pair:
    """A uniform point of a search, and what came nearest to the float network for no more than its cost."""

    uniform: Candidate
    nearest: Candidate


@dataclass(frozen=True, eq=False)
class Measured:
    """An allocation, compiled once: its cost, and the class that it gives to each evaluation sample."""

    cost: float
    classes: npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Compared:
    """A pair, compiled with every seed."""

    pair: Pair
    uniform: Sequence[Measured]
    mixed: Sequence[Measured]

    def giving(self, classes: npt.NDArray[np.intp]) -> tuple[Reals, Reals]:
        """In what part of the compiles each sample was given these classes: uniform, mixed."""
        return _giving(self.uniform, classes), _giving(self.mixed, classes)


def exchanged(one: Reals, other: Reals) -> float:
    """How likely a difference of means as large as this is, were the two of each pair exchanged by chance."""
    if (one == other).all():
        return 1.0
    found = permutation_test(
        (one, other),
        _mean_difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=BATCH,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--target", default="onnxruntime")
    parser.add_argument("--what", choices=RECIPES, default="weights")
    parser.add_argument("--seeds", type=int, default=8)
    given = parser.parse_args()
    rows: list[list[str]] = []
    for name in given.models:
        front = json.loads((given.folder / f"{name}-{given.what}" / "front.json").read_text())
        compared = list(compare(name, given.target, RECIPES[given.what], front, given.seeds))
        source, _, evaluation = model_files(name)
        real = classes_of(FloatModel(source), evaluation)
        with np.load(evaluation) as data:
            labels = data["y"].astype(np.intp).ravel()
        right, alike = ([one.giving(classes) for one in compared] for classes in (labels, real))
        stars = zip(_starred(right), _starred(alike), strict=True)
        for one, both in zip(compared, stars, strict=True):
            rows.append(row(name, one, labels, real, both))
            print(rows[-1], file=sys.stderr, flush=True)
    title = f"{given.what.capitalize()}, each compiled {given.seeds} times, for {given.target}"
    print(f"\n## {title}\n\n{markdown(HEADER, rows)}")


def compare(name: str, target: str, recipe: Recipe, front: dict[str, Any], seeds: int) -> Iterator[Compared]:
    """Every pair of a search that differs, compiled with each seed."""
    found = pairs(front)
    wanted = {one.key: one for pair in found for one in (pair.uniform, pair.nearest)}
    points: dict[str, list[Measured]] = {key: [] for key in wanted}
    for seed in range(seeds):
        for key, point in measured(shuffled(name, target, recipe, seed), list(wanted.values()), front["cost"]).items():
            points[key].append(point)
    for pair in found:
        yield Compared(pair, points[pair.uniform.key], points[pair.nearest.key])


def pairs(front: dict[str, Any]) -> list[Pair]:
    """Of each uniform point that something is surely nearer than, the two."""
    allocations = {one["name"]: Allocation.from_json(one["allocation"]) for one in front["points"]}
    found = []
    for one in front["uniform"]:
        name, nearest = one["name"], one["nearest"]["name"]
        if name != nearest:
            bits = float(name.removeprefix("uniform-"))
            bits = int(bits) if bits.is_integer() else bits
            found.append(
                Pair(
                    Candidate(name, UNIFORM, allocations[name], bits),
                    Candidate(nearest, PROGRAM, allocations[nearest]),
                )
            )
    return found


def shuffled(name: str, target: str, recipe: Recipe, seed: int) -> Job:
    """What candidates are measured with: the calibration samples in an order of the seed's own."""
    model, calibration, evaluation = model_files(name)
    with np.load(calibration) as data:
        arrays = dict(data)
    order = np.random.default_rng(seed).permutation(len(arrays["x"]))
    buffer = BytesIO()
    np.savez(buffer, **{key: array[order] if len(array) == len(order) else array for key, array in arrays.items()})
    return Job(
        File.read_model(model),
        File(calibration.name, buffer.getvalue()),
        File.read(evaluation),
        load_target(target),
        replace(recipe, seed=seed),
        "top1",
    )


def measured(job: Job, candidates: Sequence[Candidate], cost: str) -> dict[str, Measured]:
    """Some candidates compiled and run, by key, on all cores."""
    found = {}
    with TemporaryDirectory(prefix="bitsmith-benchmark-") as name:
        scratch = Path(name)
        data = job.data.write(scratch / "data")
        workers, one_at_a_time = LocalWorkers(job, cores(), scratch), Lock()

        def run(candidate: Candidate) -> Trial:
            with one_at_a_time:
                work = workers.submit(candidate)
            return work.result()

        try:
            with ThreadPoolExecutor(workers.room()) as pool:
                trials = list(pool.map(run, candidates))
        finally:
            workers.close()
        for candidate, trial in zip(candidates, trials, strict=True):
            folder = scratch / candidate.key
            unpack(trial.artifact, folder)
            costs = Point.from_json(trial.point).costs
            found[candidate.key] = Measured(costs[cost], classes_of(BackendModel(load(folder)), data))
    return found


def classes_of(model: Runner, data: Path) -> npt.NDArray[np.intp]:
    """The class that a model of one output gives to each sample of a data file."""
    parts = [model.run(batch) for batch in Dataset.open(data, model.samples).batches(model.batch)]
    (output,) = parts[0]
    outputs = np.concatenate([part[output] for part in parts])
    found: npt.NDArray[np.intp] = outputs.reshape(len(outputs), -1).argmax(axis=1)
    return found


def row(
    name: str, one: Compared, labels: npt.NDArray[np.intp], real: npt.NDArray[np.intp], p: tuple[str, str]
) -> list[str]:
    """A line of the table; `real` are the float network's classes."""
    uniform, mixed = (f"{side.mean():.4f}" for side in one.giving(labels))
    uniform_alike, mixed_alike = (f"{side.mean():.4f}" for side in one.giving(real))
    return [
        name,
        one.pair.uniform.name,
        f"{max(side.cost for side in one.uniform):,.0f}",
        f"{(real == labels).mean() - one.giving(labels)[0].mean():.4f}",
        f"{max(side.cost for side in one.mixed):,.0f}",
        uniform,
        mixed,
        p[0],
        uniform_alike,
        mixed_alike,
        p[1],
    ]


def _starred(pairs: Sequence[tuple[Reals, Reals]]) -> list[str]:
    """The p of each pair as text, with a star where it holds by Holm's bounds."""
    found = [exchanged(*sides) for sides in pairs]
    return [f"{p:.2g}{' *' * is_sure}" for p, is_sure in zip(found, beyond_luck(found), strict=True)]


def _giving(sides: Sequence[Measured], classes: npt.NDArray[np.intp]) -> Reals:
    part: Reals = np.mean([one.classes == classes for one in sides], axis=0)
    return part


def _mean_difference(one: Reals, other: Reals, axis: int) -> Reals:
    difference: Reals = np.mean(one - other, axis=axis)
    return difference


if __name__ == "__main__":
    main()
