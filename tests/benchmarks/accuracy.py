"""Accuracy of every model at every setting and effort, with seconds and peak memory: one Markdown table.

usage: python -m tests.benchmarks.accuracy [--models A,B] [--settings W8A8/channel,...] [--efforts default,...]
           [--seeds 3] [--results FILE.json] [--known] [--write FILE.md] [--note TEXT] [--summary]

Each compile is a process of its own that has one core. Figures are the mean over calibration seeds: a seed puts the
calibration samples in another order, which changes the halves that learned rounding validates on, and is the
compile's own. Whole evaluation files; nothing is chosen by looking at them. With --results, what was measured is kept
in FILE.json and not measured again; with --known, nothing else is shown. Efforts that make the same pipeline, as all
do at 8 bits, are measured once, as `default`. With --summary, a line has all settings of a model, and accuracy alone.
With --note, what is written says so under its head: which rows kept results are of, where not all are of one day.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from bitsmith.recipe import Recipe
from bitsmith.target import load_target
from tests.benchmarks.common import REPOSITORY, compile_command, markdown, measured, model_files, working_folder

HEAD = """# Accuracy

What `python -m tests.benchmarks.accuracy` measured on {today}: whole evaluation files, every weight an integer, the
mean over calibration seeds and in brackets their range, processor seconds and peak memory of one compile on one core.
Efforts other than the default, and the ImageNet model at 8 bits, were measured with one seed."""

MODELS = (
    "resnet20_cifar10",
    "mobilenetv2s_cifar10",
    "resnet8_cifar10",
    "dscnn_kws",
    "mobilenetv1_025_vww",
    "mobilenetv2_imagenet_deq",
    "autoencoder_ad",
    "autoencoder_ad_tfl",
    "mnist_cnn",
)
EFFORTS = ("fast", "default", "best")

SETTINGS = {
    "W8A8/tensor": ("--weights", "8", "--granularity", "tensor"),
    "W8A8/channel": ("--weights", "8"),
    "W4A8/channel": ("--weights", "4"),
    "W4A4/channel": ("--weights", "4", "--activations", "4"),
    "W4A4/all": ("--weights", "4", "--activations", "4", "--edges", "4"),
    "W2A8/channel": ("--weights", "2"),
}
"""W4A4/channel leaves inputs and outputs of the graph at 8 bits, as the compiler does by itself; W4A4/all does not."""

PEERS = {
    "resnet20_cifar10": (0.9135, 0.9140, 0.9070, 0.833, 0.8225),
    "mobilenetv2s_cifar10": (0.6990, 0.7035, 0.6895, 0.5875, None),
    "resnet8_cifar10": (0.8605, 0.8630, 0.8175, 0.699, None),
    "dscnn_kws": (0.9127, 0.9127, 0.9182, 0.5655, None),
    "mobilenetv1_025_vww": (0.8533, 0.8550, 0.8550, 0.5683, None),
}
"""Best of ONNX Runtime, AIMET, NNCF, esp-ppq and Quark on these files (measured November 2026, each peer's best variant
chosen on the evaluation file itself), for W8A8/tensor, W8A8/channel, W4A8/channel, W4A4/all, W2A8/channel."""

PEER_SETTINGS = ("W8A8/tensor", "W8A8/channel", "W4A8/channel", "W4A4/all", "W2A8/channel")


@dataclass(frozen=True)
class Cell:
    """One compile: accuracy of the integer graph, of the QDQ graph where there is one, processor seconds, and MiB."""

    integer: float
    qdq: float
    seconds: float
    peak: float


def main() -> None:
    """Measure what is asked for, and print it, or write it, as Markdown."""
    given = _arguments()
    kept = Path(given.results) if given.results else None
    cells: dict[str, dict[str, float]] = json.loads(kept.read_text()) if kept and kept.exists() else {}
    wanted = [
        (model, setting, effort, seed)
        for model in given.models.split(",")
        for setting in given.settings.split(",")
        for effort in _distinct(setting, given.efforts.split(","))
        for seed in range(given.seeds)
    ]
    if given.known:
        wanted = [job for job in wanted if " ".join(map(str, job)) in cells]
    for model in dict.fromkeys(job[0] for job in wanted):
        if model not in cells:
            cells[model] = {"float": _score(model, model_files(model)[0])["float"]}
    cores: SimpleQueue[int] = SimpleQueue()
    for core in os.sched_getaffinity(0):
        cores.put(core)

    def run(job: tuple[str, str, str, int]) -> None:
        label = " ".join(map(str, job))
        if label in cells:
            return
        core = cores.get()
        try:
            cells[label] = asdict(_measure(*job, core=core))
        finally:
            cores.put(core)
        print(label, cells[label], file=sys.stderr, flush=True)
        if kept:
            kept.write_text(json.dumps(cells, indent=1, sort_keys=True))

    with ThreadPoolExecutor(cores.qsize()) as pool:
        list(pool.map(run, wanted))
    table = _summary(cells, wanted) if given.summary else _table(cells, wanted)
    if given.write:
        head = "\n\n".join([HEAD.format(today=date.today()), *([given.note] if given.note else [])])
        Path(given.write).write_text(f"{head}\n\n{table}\n")
    print(table)


def _distinct(setting: str, efforts: Sequence[str]) -> list[str]:
    """The efforts whose pipelines differ; `default` stands for all that share its own."""
    options = dict(zip(SETTINGS[setting][::2], SETTINGS[setting][1::2], strict=True))
    recipe = Recipe(
        weights=int(options["--weights"]),
        activations=int(options.get("--activations", 8)),
        edges=int(options["--edges"]) if "--edges" in options else None,
        granularity=options.get("--granularity"),
    )
    target = load_target("onnxruntime")
    made: dict[str, str] = {}
    for effort in sorted(efforts, key=lambda one: one != "default"):
        made.setdefault(str(replace(recipe, effort=effort).passes(target)), effort)
    return [effort for effort in efforts if effort in made.values()]


def _measure(model: str, setting: str, effort: str, seed: int, core: int) -> Cell:
    source, calibration, _ = model_files(model)
    with working_folder() as folder:
        shuffled = folder / "calibration.npz"
        with np.load(calibration) as data:
            arrays = dict(data)
        order = np.random.default_rng(seed).permutation(len(arrays["x"]))
        shuffle = {name: array[order] if len(array) == len(order) else array for name, array in arrays.items()}
        np.savez(shuffled, **shuffle)
        options = [*SETTINGS[setting], "--effort", effort, "--seed", str(seed)]
        command = compile_command(source, shuffled, folder / "out", *options)
        run = measured(["taskset", "-c", str(core), *command])
        scores = _score(model, folder / "out")
    integer, qdq = scores["integer.onnx"], next(value for name, value in scores.items() if name != "integer.onnx")
    return Cell(integer, qdq, run.processor, run.peak)


def _score(model: str, source: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.score", model, str(source)]
    found = json.loads(subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout)
    scores: dict[str, float] = found if len(found) > 1 else {"float": next(iter(found.values()))}
    return scores


def _table(cells: dict[str, dict[str, float]], jobs: list[tuple[str, str, str, int]]) -> str:
    header = ["model (float)", "setting", "effort", "integer graph (range)", "QDQ", "best peer", "s", "MiB"]
    return markdown(header, list(_rows(cells, jobs)))


def _summary(cells: dict[str, dict[str, float]], jobs: list[tuple[str, str, str, int]]) -> str:
    """By model and setting: the mean accuracy of the integer graph, and in brackets the best peer's."""
    settings = list(dict.fromkeys(job[1] for job in jobs))
    lines = []
    for model, effort in dict.fromkeys((job[0], job[2]) for job in jobs):
        peers = dict(zip(PEER_SETTINGS, PEERS.get(model, ()), strict=False))
        line = [f"{model}, {effort}" if effort != "default" else model, f"{cells[model]['float']:.4f}"]
        for setting in settings:
            runs = [job for job in jobs if job[:3] == (model, setting, effort)]
            scores = [cells[" ".join(map(str, job))]["integer"] for job in runs]
            mean, peer = f"{statistics.mean(scores):.4f}" if scores else "", peers.get(setting)
            line.append(mean if peer is None else f"{mean} ({peer:.4f})")
        lines.append(line)
    return markdown(["model", "float", *settings], lines)


def _rows(cells: dict[str, dict[str, float]], jobs: list[tuple[str, str, str, int]]) -> Iterator[list[str]]:
    for model, setting, effort in dict.fromkeys(job[:3] for job in jobs):
        runs = [cells[" ".join(map(str, job))] for job in jobs if job[:3] == (model, setting, effort)]
        scores = [run["integer"] for run in runs]
        peer = dict(zip(PEER_SETTINGS, PEERS.get(model, ()), strict=False)).get(setting)
        yield [
            f"{model} ({cells[model]['float']:.4f})",
            setting,
            effort,
            f"{statistics.mean(scores):.4f} ({min(scores):.4f}-{max(scores):.4f})",
            f"{statistics.mean(run['qdq'] for run in runs):.4f}",
            "" if peer is None else f"{peer:.4f}",
            f"{statistics.mean(run['seconds'] for run in runs):.1f}",
            f"{max(run['peak'] for run in runs):.0f}",
        ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.accuracy")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--efforts", default=",".join(EFFORTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results")
    parser.add_argument("--known", action="store_true")
    parser.add_argument("--write")
    parser.add_argument("--note")
    parser.add_argument("--summary", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
