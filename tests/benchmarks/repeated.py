"""Mixed bits against uniform ones at equal size, each compiled several times: what an allocation does, luck apart.

Rounding has luck in it. The same bits compiled on the same calibration samples in another order give integers that are
as good, but right and wrong on other evaluation samples; where few of these are at stake, that luck hides what bits do.
So for each uniform allocation and what came nearest to the float network at its size (`tests.benchmarks.search`, by
calibration data alone), both are compiled with as many orders of the calibration samples as there are seeds. Of every
evaluation sample it is counted how often each was right. The test is for paired samples: by how much the two differ in
the mean, against the same with the two exchanged at random sample by sample (with one seed it is McNemar's), two-sided.
`sure` says which rows of a model stand by Holm's bounds together.

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

from bitsmith.ir.allocation import Allocation
from bitsmith.recipe import Recipe
from bitsmith.recipe_file import MIXED
from bitsmith.search.job import File, Job
from bitsmith.search.point import PROGRAM, UNIFORM, Candidate, Point
from bitsmith.search.workers import LocalWorkers, cores
from bitsmith.target import load_target
from tests.benchmarks.common import markdown, model_files
from tests.benchmarks.search import MODELS, beyond_luck

RECIPES = {"weights": Recipe(weights=MIXED), "activations": Recipe(weights=8, activations=MIXED)}

RESAMPLES, BATCH = 99_999, 500
"""Of the test: exchanges that are tried, and how many at a time."""

HEADER = ["model", "uniform", "size", "top-1", "loses", "mixed: size", "top-1", "gain", "standard error", "p", "sure"]


@dataclass(frozen=True)
class Pair:
    """A uniform point of a search, and what came nearest to the float network for no more than its cost."""

    uniform: Candidate
    nearest: Candidate


@dataclass(frozen=True, eq=False)
class Compared:
    """A pair, compiled with every seed: what each cost at most, and in what part of them each sample was right."""

    pair: Pair
    costs: tuple[float, float]
    right: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

    @property
    def gains(self) -> npt.NDArray[np.float64]:
        """By which the mixed one is ahead, by sample."""
        uniform, mixed = self.right
        return mixed - uniform

    @property
    def p(self) -> float:
        """How likely such a difference, or a larger one, is between allocations that are equally good."""
        uniform, mixed = self.right
        if not self.gains.any():
            return 1.0
        found = permutation_test(
            (mixed, uniform),
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
        for one, is_sure in zip(compared, beyond_luck([one.p for one in compared]), strict=True):
            rows.append(row(name, one, front["float"], is_sure))
            print(rows[-1], file=sys.stderr, flush=True)
    print(markdown(HEADER, rows))


def compare(name: str, target: str, recipe: Recipe, front: dict[str, Any], seeds: int) -> Iterator[Compared]:
    """Every pair of a search that differs, compiled with each seed."""
    found = pairs(front)
    wanted = {one.key: one for pair in found for one in (pair.uniform, pair.nearest)}
    points: dict[str, list[Point]] = {key: [] for key in wanted}
    for seed in range(seeds):
        for key, point in measured(shuffled(name, target, recipe, seed), list(wanted.values())).items():
            points[key].append(point)
    for pair in found:
        sides = points[pair.uniform.key], points[pair.nearest.key]
        yield Compared(
            pair,
            (_dearest(sides[0], front["cost"]), _dearest(sides[1], front["cost"])),
            (_how_often(sides[0]), _how_often(sides[1])),
        )


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


def measured(job: Job, candidates: Sequence[Candidate]) -> dict[str, Point]:
    """The points of some candidates, by key, on all cores."""
    with TemporaryDirectory(prefix="bitsmith-benchmark-") as scratch:
        workers, one_at_a_time = LocalWorkers(job, cores(), Path(scratch)), Lock()

        def run(candidate: Candidate) -> Point:
            with one_at_a_time:
                work = workers.submit(candidate)
            return Point.from_json(work.result().point)

        try:
            with ThreadPoolExecutor(workers.room()) as pool:
                points = list(pool.map(run, candidates))
        finally:
            workers.close()
    return {candidate.key: point for candidate, point in zip(candidates, points, strict=True)}


def row(name: str, one: Compared, real: float, is_sure: bool) -> list[str]:
    """A line of the table; `real` is the float network's accuracy."""
    uniform, mixed = (float(side.mean()) for side in one.right)
    error = one.gains.std(ddof=1) / np.sqrt(len(one.gains))
    return [
        name,
        one.pair.uniform.name,
        f"{one.costs[0]:,.0f}",
        f"{uniform:.4f}",
        f"{real - uniform:.4f}",
        f"{one.costs[1]:,.0f}",
        f"{mixed:.4f}",
        f"{mixed - uniform:+.4f}",
        f"{error:.4f}",
        f"{one.p:.2g}",
        "yes" if is_sure else "",
    ]


def _how_often(points: Sequence[Point]) -> npt.NDArray[np.float64]:
    return np.mean([point.outcomes for point in points], axis=0)


def _dearest(points: Sequence[Point], cost: str) -> float:
    return max(point.costs[cost] for point in points)


def _mean_difference(
    mixed: npt.NDArray[np.float64], uniform: npt.NDArray[np.float64], axis: int
) -> npt.NDArray[np.float64]:
    difference: npt.NDArray[np.float64] = np.mean(mixed - uniform, axis=axis)
    return difference


if __name__ == "__main__":
    main()
