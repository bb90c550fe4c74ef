"""Peak memory of calibration at 256 and at 4,096 samples, each in a fresh process.

usage: python -m tests.benchmarks.calibration_memory [MODEL]

Exits with 1 if the two differ by 20 % or more.
"""

# This process imports no library of size: Linux counts the memory of the process that starts another as a floor of
# the other's peak.
from __future__ import annotations

import sys
from pathlib import Path

from tests.benchmarks.common import Run, markdown, measured, model_files, working_folder

FEW, MANY = 256, 4096
LIMIT = 0.20

TILE = """
import sys
import numpy as np
source, target, samples = sys.argv[1], sys.argv[2], int(sys.argv[3])
arrays = dict(np.load(source))
x = arrays["x"]
arrays["x"] = np.resize(x, (samples, *x.shape[1:]))
arrays.pop("y", None)
np.savez(target, **arrays)
"""

CALIBRATE = """
import sys
from bitsmith.dataset import Dataset
from bitsmith.importing.load import load_graph
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
model, data, options = sys.argv[1:]
graph = load_graph(model)
inputs = {value.name: value.sample_shape for value in graph.inputs}
module = Module(graph, Target("benchmark", "none"), Dataset.open(data, inputs))
Pipeline.parse(f"{NORMALISE},calibrate{options}").run(module)
"""


def main() -> None:
    """Print a row for each kind of statistics."""
    name = sys.argv[1] if len(sys.argv) > 1 else "resnet20_cifar10"
    model, calibration, _ = model_files(name)
    rows, worst = [], 0.0
    with working_folder() as folder:
        data = [_tiled(calibration, folder, samples) for samples in (FEW, MANY)]
        for title, options in (("histograms", "{grams=false}"), ("histograms and Gram matrices", "{grams=true}")):
            few, many = (_calibrated(model, file, options) for file in data)
            growth = many.peak / few.peak - 1
            worst = max(worst, abs(growth))
            rows.append([title, _shown(few), _shown(many), f"{growth:+.1%}"])
    print(f"Calibration of {name}: peak memory of the whole process, and its processor time.\n")
    print(markdown(["statistics", f"{FEW} samples", f"{MANY} samples", "memory"], rows))
    if worst >= LIMIT:
        sys.exit(f"Memory grows with the number of samples: by {worst:.1%}, the limit being {LIMIT:.0%}.")


def _tiled(source: Path, folder: Path, samples: int) -> Path:
    """The calibration data repeated up to so many samples."""
    target = folder / f"{samples}.npz"
    measured([sys.executable, "-c", TILE, str(source), str(target), str(samples)])
    return target


def _calibrated(model: Path, data: Path, options: str) -> Run:
    return measured([sys.executable, "-c", CALIBRATE, str(model), str(data), options])


def _shown(run: Run) -> str:
    return f"{run.peak:.0f} MiB, {run.processor:.1f} s"


if __name__ == "__main__":
    main()
