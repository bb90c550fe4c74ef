"""Seconds of calibration beside onnxruntime's own min-max calibrator, same samples, in turn, in one process.

usage: python -m tests.benchmarks.calibration_speed [MODEL ...]

Ours takes histograms, means and extremes; the other takes extremes. Neither time includes preparing the model.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator
from onnxruntime.quantization.shape_inference import quant_pre_process

from bitsmith.dataset import Dataset
from bitsmith.importing.load import load_graph
from bitsmith.manager import Pipeline
from bitsmith.module import Module
from bitsmith.passes.calibrate import Calibrate
from bitsmith.pipelines import NORMALISE
from bitsmith.target import Target
from tests.benchmarks.common import markdown, model_files, working_folder

DEFAULT = ["resnet8_cifar10", "resnet20_cifar10", "mobilenetv2s_cifar10", "dscnn_kws", "mobilenetv1_025_vww"]
ROUNDS = 7
BATCH = 32


class Reader(CalibrationDataReader):
    """Batches that are in memory."""

    def __init__(self, batches: list[dict[str, Any]]) -> None:
        self._batches: Iterator[dict[str, Any]] = iter(batches)

    def get_next(self) -> dict[str, Any] | None:  # type: ignore[override]
        return next(self._batches, None)


def main() -> None:
    """Print a row for each model: medians, and the median of the ratios of neighbours."""
    rows = []
    for name in sys.argv[1:] or DEFAULT:
        model, calibration, _ = model_files(name)
        graph = load_graph(model)
        data = Dataset.open(calibration, {value.name: value.sample_shape for value in graph.inputs})
        batches = list(data.batches(BATCH))
        arrays = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
        module = Module(graph, Target("benchmark", "none"), Dataset.from_arrays(arrays))
        Pipeline.parse(NORMALISE).run(module)
        with working_folder() as folder:
            theirs = _peer(model, folder, batches)
            ours = partial(Calibrate().run, module)
            pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(1 + ROUNDS)][1:]
        ratio = statistics.median(a / b for a, b in pairs)
        medians = [f"{statistics.median(times):.3f} s" for times in zip(*pairs, strict=True)]
        rows.append([name, str(len(data)), *medians, f"{ratio:.2f}"])
    print(markdown(["model", "samples", "bitsmith", "onnxruntime min-max", "ratio"], rows))


def _peer(model: Path, folder: Path, batches: list[dict[str, Any]]) -> Callable[[], None]:
    prepared, augmented = folder / "prepared.onnx", folder / "augmented.onnx"
    quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)

    def calibrate() -> None:
        calibrator = create_calibrator(
            str(prepared),
            augmented_model_path=str(augmented),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(Reader(batches))
        calibrator.compute_data()

    return calibrate


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
