"""Mixed bits against uniform ones at equal size, and two workers against one.

For each model one `bitsmith search` traces the front. At the size of every uniform allocation stand against it:

- what came nearest to the float network on the calibration samples, which no figure of the evaluation file had a part
  in, so that a paired test is fair;
- the best that was measured, which that file chose, so that its lead is flattered.

The test is McNemar's in its exact form, over the samples of the evaluation file, two-sided. As many tests as there are
rows turn up small p by chance: the verdict holds those of each search against Holm's bounds. Activations are
searched too, with 8-bit weights, at equal memory.

An evaluation file can tell two models apart only so far. `loses` is what the uniform allocation loses to the float
network, all that there is to win. `shown from` is the least gain at which the test would say so at 5 %, by one test, on
as many samples as the two were found to differ on (the nearest and the uniform one; the best and it, where that is the
nearest itself). Where the first is less than the second, winning all of it back would not show on that file.

usage: python -m tests.benchmarks.search [--points N] [--target T] [--what weights] [--out FOLDER] [MODEL ...]
       python -m tests.benchmarks.search --workers [MODEL]
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from tests.benchmarks.common import REPOSITORY, markdown, model_files, working_folder

MODELS = ("dscnn_kws", "mobilenetv1_025_vww", "mobilenetv2s_cifar10", "resnet20_cifar10")

WHAT = {
    "weights": ["--cost", "flash"],
    "activations": ["--cost", "ram", "--weights", "8"],
}

TURNS = 2
"""Of each number of workers that is timed."""

HEADER = [
    "model",
    "uniform",
    "size",
    "top-1",
    "dB",
    "nats",
    "nearest: top-1",
    "dB",
    "nats",
    "won : lost",
    "p",
    "best: top-1",
    "loses",
    "shown from",
]

LEVEL = 0.05


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--points", type=int, default=48)
    parser.add_argument("--target", default="onnxruntime")
    parser.add_argument("--what", choices=WHAT, help="search these alone")
    parser.add_argument("--out", type=Path, help="where to keep the searches; one that is there is gone on with")
    parser.add_argument("--workers", action="store_true", help="time one worker process against two")
    given = parser.parse_args()
    with working_folder() as passing:
        folder = given.out or passing
        if given.workers:
            compare_workers(given.models[0], given.points, passing)
            return
        for what in [given.what] if given.what else WHAT:
            options = ["--target", given.target, "--points", str(given.points), *WHAT[what]]
            rows = []
            for name in given.models:
                found = search(name, folder / f"{name}-{what}", options)
                samples = len(np.load(model_files(name)[2])["y"])
                rows += [row(name, one, found["float"], samples) for one in found["uniform"]]
                print(f"{name}, {what}: {verdict(found)}", file=sys.stderr)
            title = f"{what.capitalize()}, by {WHAT[what][1]}, for {given.target}"
            print(f"\n## {title}\n\n{markdown(HEADER, rows)}", flush=True)


def search(name: str, out: Path, options: list[str]) -> dict[str, Any]:
    """What `bitsmith search --json` says."""
    model, calibration, evaluation = model_files(name)
    command = [sys.executable, "-m", "bitsmith", "search", str(model)]
    command += ["--calibration", str(calibration), "--data", str(evaluation), "-o", str(out), "--json", "--quiet"]
    done = subprocess.run([*command, *options], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def row(name: str, uniform: dict[str, Any], real: float, samples: int) -> list[str]:
    """One uniform allocation and what stands against it; `real` is the float network's accuracy."""
    nearest, best = uniform["nearest"], uniform["best"]
    differing = (nearest["gained"] + nearest["lost"]) or best["gained"] + best["lost"]
    least = least_gain(differing, samples)
    return [
        name,
        uniform["name"],
        f"{uniform['cost']:,.6g}" if uniform["cost"] < 100 else f"{uniform['cost']:,.0f}",
        f"{uniform['accuracy']:.4f}",
        f"{uniform['decibels']:.1f}",
        f"{uniform['nats']:.2g}",
        f"{nearest['accuracy']:.4f}",
        f"{nearest['decibels']:.1f}",
        f"{nearest['nats']:.2g}",
        f"{nearest['gained']} : {nearest['lost']}",
        f"{nearest['p']:.2g}",
        f"{best['accuracy']:.4f}",
        f"{real - uniform['accuracy']:.4f}",
        f"{least:.4f}" if math.isfinite(least) else "",
    ]


def least_gain(differing: int, samples: int) -> float:
    """The least gain in accuracy that McNemar's exact test finds surer than LEVEL, where two models differ so often.

    differing: samples that one of the two has right and the other wrong. Infinite where they are too few for any.
    """
    for gained in range((differing + 1) // 2, differing + 1):
        if differing and binomtest(gained, differing).pvalue <= LEVEL:
            return (2 * gained - differing) / samples
    return math.inf


def verdict(found: dict[str, Any]) -> str:
    """Which uniform allocations nothing dominates, and where what is nearest is ahead or behind by more than luck."""
    uniform, kept = found["uniform"], set(found["front"])
    level = [one["name"] for one in uniform if one["name"] in kept]
    sure = beyond_luck([one["nearest"]["p"] for one in uniform])
    told = {
        sign: [one["name"] for one, is_sure in zip(uniform, sure, strict=True) if is_sure and sign * _ahead(one) > 0]
        for sign in (1, -1)
    }
    return (
        f"float {found['float']:.4f}; uniform ones on the front: {level or 'none'}; nearest ahead, by Holm at 5 %: "
        f"{told[1] or 'none'}; behind: {told[-1] or 'none'}"
    )


def _ahead(uniform: dict[str, Any]) -> float:
    return float(uniform["nearest"]["ahead"])


def beyond_luck(p: list[float], level: float = LEVEL) -> list[bool]:
    """Which of several tests stand at a level that holds for all of them together (Holm 1979, doi:10.2307/4615733)."""
    stands = [False] * len(p)
    for place, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[index] > level / (len(p) - place):
            break
        stands[index] = True
    return stands


def compare_workers(name: str, points: int, folder: Path) -> None:
    """Seconds of one search by one worker process and by two, sensitivities known; from cold, all included.

    By turns, the best of each: what else the machine did only adds. Seconds of processor, of all processes, say whether
    two workers did more than one, or only waited longer.
    """
    known = folder / "known"
    target = ["--target", "onnxruntime"]
    search(name, known, [*target, "--points", "1", "--workers", "1"])
    options = [*target, "--points", str(points), "--sensitivity", str(known / "sensitivity.json")]
    taken: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for turn in range(TURNS):
        for workers, found in taken.items():
            start, before = time.perf_counter(), _processor()
            search(name, folder / f"by-{workers}-{turn}", [*options, "--workers", str(workers)])
            found.append((time.perf_counter() - start, _processor() - before))
    (one, work), (two, more) = (min(taken[workers]) for workers in (1, 2))
    print(
        f"{name}, {points} points: {one:.1f} s by one worker, {two:.1f} s by two: {one / two:.2f} times; "
        f"{work:.1f} s and {more:.1f} s of processor"
    )


def _processor() -> float:
    """Seconds that processes begun here have computed for, those that these began included, once they have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
