"""Mixed bits against uniform ones at equal size, each compiled several times: what an allocation does, luck apart.

Rounding has luck in it. The same bits compiled on the same calibration samples in another order give integers that are
as good, but right and wrong on other evaluation samples; where few of these are at stake, that luck hides what bits do.
So for each uniform allocation and what came nearest to the float network at its size (`tests.benchmarks.search`, by
calibration data alone), both are compiled with as many orders of the calibration samples as there are seeds.

Two things are looked at on every evaluation sample, each in the mean over the compiles: whether its class was right,
and the log loss of the class that it has, in nats, since right or wrong is coarse where files are small. Outputs are
softened first, as all divergences are (compiler/execution/divergence.py), by a temperature that the float network has
on the calibration samples: these networks are surer than they are right, and plain log loss is better for whatever
makes their outputs smaller. The test is for paired samples: by how much the two differ in the mean, against the same
with the two exchanged at random sample by sample (of classes, with one seed, it is McNemar's), two-sided. A star stands
at what holds by Holm's bounds over all rows of a model, for each of the two by itself.

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
from scipy.special import log_softmax
from scipy.stats import permutation_test

from bitsmith.artifact import load
from bitsmith.dataset import Dataset
from bitsmith.execution.divergence import SOFTENED, Divergence
from bitsmith.importing.load import load_graph
from bitsmith.ir.allocation import Allocation
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.recipe import Recipe
from bitsmith.recipe_file import MIXED
from bitsmith.runners import BackendModel
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

SAMPLES = 512
"""Of the calibration data, on which a temperature is found."""

LEAST = 1e-38
"""Of a probability whose logarithm is taken."""

HEADER = [
    "model",
    "uniform",
    "size",
    "loses",
    "mixed: size",
    "top-1",
    "mixed",
    "gain",
    "p",
    "log loss",
    "mixed",
    "p",
]


@dataclass(frozen=True)
class Pair:
    """A uniform point of a search, and what came nearest to the float network for no more than its cost."""

    uniform: Candidate
    nearest: Candidate


@dataclass(frozen=True, eq=False)
class Measured:
    """An allocation, compiled once: its cost, and of each evaluation sample whether it is right, and its log loss."""

    cost: float
    right: Reals
    log_loss: Reals


@dataclass(frozen=True, eq=False)
class Compared:
    """A pair, compiled with every seed."""

    pair: Pair
    uniform: Sequence[Measured]
    mixed: Sequence[Measured]

    @property
    def right(self) -> tuple[Reals, Reals]:
        """In what part of the compiles each sample was right: uniform, mixed."""
        return _mean([one.right for one in self.uniform]), _mean([one.right for one in self.mixed])

    @property
    def log_loss(self) -> tuple[Reals, Reals]:
        """The mean log loss of each sample: uniform, mixed."""
        return _mean([one.log_loss for one in self.uniform]), _mean([one.log_loss for one in self.mixed])


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
        classes = [exchanged(*one.right) for one in compared]
        losses = [exchanged(*one.log_loss) for one in compared]
        stars = zip(_starred(classes), _starred(losses), strict=True)
        for one, (by_class, by_loss) in zip(compared, stars, strict=True):
            rows.append(row(name, one, front["float"], by_class, by_loss))
            print(rows[-1], file=sys.stderr, flush=True)
    print(markdown(HEADER, rows))


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
    with TemporaryDirectory(prefix="bitsmith-benchmark-") as name:
        scratch = Path(name)
        data, softening = np.load(job.data.write(scratch / "data")), temperature_of(job, scratch)
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
        found = {}
        for candidate, trial in zip(candidates, trials, strict=True):
            folder = scratch / candidate.key
            unpack(trial.artifact, folder)
            point = Point.from_json(trial.point)
            losses = log_losses(folder, data["x"], data["y"], softening)
            found[candidate.key] = Measured(point.costs[cost], np.asarray(point.outcomes, np.float64), losses)
    return found


def temperature_of(job: Job, scratch: Path) -> float:
    """By which the float network's outputs are softened."""
    graph = load_graph(job.model.write(scratch / "model"))
    Pipeline.parse(NORMALISE).run(Module(graph, job.target))
    assert job.calibration is not None
    path = job.calibration.write(scratch / "calibration")
    data = Dataset.open(path, {value.name: value.sample_shape for value in graph.inputs}).take(SAMPLES)
    (found,) = Divergence.of(graph, data, SOFTENED, 64).temperatures.values()
    return found


def log_losses(
    artifact: Path, x: npt.NDArray[np.float32], labels: npt.NDArray[np.integer[Any]], softening: float
) -> Reals:
    """What the artifact's outputs, divided by a temperature, lose on each sample's class, in nats."""
    model = BackendModel(load(artifact))
    (name,) = model.samples
    parts = [model.run({name: x[start : start + model.batch]}) for start in range(0, len(x), model.batch)]
    (output,) = parts[0]
    found = np.concatenate([part[output] for part in parts]).reshape(len(x), -1).astype(np.float64)
    is_share = (found >= 0).all() and np.allclose(found.sum(axis=1), 1, atol=0.01)
    logits = np.log(np.maximum(found, LEAST)) if is_share else found
    losses: Reals = -log_softmax(logits / softening, axis=1)[np.arange(len(x)), labels.astype(np.int64).ravel()]
    return losses


def row(name: str, one: Compared, real: float, by_class: str, by_loss: str) -> list[str]:
    """A line of the table; `real` is the float network's accuracy."""
    uniform, mixed = (float(side.mean()) for side in one.right)
    return [
        name,
        one.pair.uniform.name,
        f"{max(side.cost for side in one.uniform):,.0f}",
        f"{real - uniform:.4f}",
        f"{max(side.cost for side in one.mixed):,.0f}",
        f"{uniform:.4f}",
        f"{mixed:.4f}",
        f"{mixed - uniform:+.4f}",
        by_class,
        *(f"{side.mean():.4f}" for side in one.log_loss),
        by_loss,
    ]


def _starred(found: Sequence[float]) -> list[str]:
    """Each p as text, with a star where it holds by Holm's bounds."""
    return [f"{p:.2g}{' *' * is_sure}" for p, is_sure in zip(found, beyond_luck(list(found)), strict=True)]


def _mean(sides: Sequence[Reals]) -> Reals:
    mean: Reals = np.mean(sides, axis=0)
    return mean


def _mean_difference(one: Reals, other: Reals, axis: int) -> Reals:
    difference: Reals = np.mean(one - other, axis=axis)
    return difference


if __name__ == "__main__":
    main()
