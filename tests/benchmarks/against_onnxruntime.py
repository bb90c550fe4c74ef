"""Compile time, peak memory and inference time beside onnxruntime's quantize_static, same data, one run.

usage: python tests/benchmarks/against_onnxruntime.py [MODEL ...]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from tests.benchmarks.common import MODELS, Run, compile_command, markdown, measured, model_files, working_folder

DEFAULT = [
    "resnet8_cifar10",
    "resnet20_cifar10",
    "mobilenetv2s_cifar10",
    "dscnn_kws",
    "mobilenetv1_025_vww",
    "mnist_cnn",
]
ROUNDS = 3
BATCH = 16


def main() -> None:
    """Print one row a model; every ratio is bitsmith over onnxruntime, so below 1 is better."""
    rows = []
    for name in sys.argv[1:] or DEFAULT:
        model, calibration, evaluation = model_files(name)
        with working_folder() as folder:
            ours, theirs = _compiles(model, calibration, folder)
            pairs = _inference(folder / "ours" / "model.qdq.onnx", folder / "theirs.onnx", evaluation)
        rows.append(
            [
                name,
                _ratio([run.seconds for run in ours], [run.seconds for run in theirs], "s"),
                _ratio([run.peak for run in ours], [run.peak for run in theirs], "MiB"),
                _ratio([ours for ours, _ in pairs], [theirs for _, theirs in pairs], "ms"),
            ]
        )
        print(f"{name} done", file=sys.stderr)
    inferences = f"{len(pairs)} inferences of {BATCH} samples in turn, one thread"
    print(f"Medians of {ROUNDS} compiles in turn, and of {inferences}.\n")
    print(markdown(["model", "compile: bitsmith / ORT", "peak memory", "inference of the QDQ graph"], rows))


def _compiles(model: Path, calibration: Path, folder: Path) -> tuple[list[Run], list[Run]]:
    peer = [sys.executable, str(Path(__file__).with_name("quantize_static.py"))]
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(measured(compile_command(model, calibration, folder / "ours")))
        theirs.append(measured([*peer, str(model), str(calibration), str(folder / "theirs.onnx")]))
    return ours, theirs


def _inference(ours: Path, theirs: Path, evaluation: Path) -> list[tuple[float, float]]:
    """Milliseconds a batch, pair by pair."""
    x = np.load(evaluation)["x"][:BATCH].astype(np.float32)
    runs = [_session(ours, x), _session(theirs, x)]
    pairs = []
    for _ in range(60):
        pairs.append((_milliseconds(runs[0]), _milliseconds(runs[1])))
    return pairs[10:]


def _session(path: Path, x: np.ndarray) -> Callable[[], object]:  # type: ignore[type-arg]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {session.get_inputs()[0].name: x})


def _milliseconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def _ratio(ours: list[float], theirs: list[float], unit: str) -> str:
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return f"{ratio:.2f} ({statistics.median(ours):.2f} / {statistics.median(theirs):.2f} {unit})"


if __name__ == "__main__":
    print(f"Models: {MODELS.name}", file=sys.stderr)
    main()
