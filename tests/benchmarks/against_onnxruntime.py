"""Compile time, peak memory and inference time beside onnxruntime's quantize_static, same data, one run.

usage: python -m tests.benchmarks.against_onnxruntime [MODEL ...]
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from tests.benchmarks.common import Run, compile_command, markdown, measured, model_files, working_folder

DEFAULT = [
    "resnet8_cifar10",
    "resnet20_cifar10",
    "mobilenetv2s_cifar10",
    "dscnn_kws",
    "mobilenetv1_025_vww",
    "mnist_cnn",
]
ROUNDS = 3
WARM_UP, PAIRS = 10, 50
BATCH = 16


def main() -> None:
    """Print one row a model; every ratio is bitsmith over onnxruntime, so below 1 is better."""
    names = sys.argv[1:] or DEFAULT
    with working_folder() as folder:
        # All compiles before any inference: a process starts out with its parent's peak memory, so that this one
        # must stay small until the last compile is measured.
        compiles = {name: _compiles(name, folder / name) for name in names}
        inferences = {name: _inferences(name, folder / name) for name in names}
    rows = []
    for name in names:
        ours, theirs = compiles[name]
        rows.append(
            [
                name,
                _ratio([run.seconds for run in ours], [run.seconds for run in theirs], "s"),
                _ratio([run.peak for run in ours], [run.peak for run in theirs], "MiB"),
                _ratio(*inferences[name], "ms"),
            ]
        )
    print(f"Medians of {ROUNDS} compiles in turn, and of {PAIRS} inferences of {BATCH} samples in turn, one thread.\n")
    print(markdown(["model", "compile: bitsmith / ORT", "peak memory", "inference of the QDQ graph"], rows))


def _compiles(name: str, folder: Path) -> tuple[list[Run], list[Run]]:
    folder.mkdir()
    model, calibration, _ = model_files(name)
    peer = [sys.executable, str(Path(__file__).with_name("quantize_static.py"))]
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(measured(compile_command(model, calibration, folder / "ours")))
        theirs.append(measured([*peer, str(model), str(calibration), str(folder / "theirs.onnx")]))
    print(f"{name} compiled", file=sys.stderr)
    return ours, theirs


def _inferences(name: str, folder: Path) -> tuple[list[float], list[float]]:
    """Milliseconds a batch of each, in turn."""
    import numpy as np
    import onnxruntime as ort

    x = np.load(model_files(name)[2])["x"][:BATCH].astype(np.float32)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    times: tuple[list[float], list[float]] = ([], [])
    files = (folder / "ours" / "model.qdq.onnx", folder / "theirs.onnx")
    sessions = [ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"]) for file in files]
    for turn in range(WARM_UP + PAIRS):
        # Whoever runs first finds the caches as the other left them, so they take turns at it.
        for index in (0, 1) if turn % 2 else (1, 0):
            session, taken = sessions[index], times[index]
            start = time.perf_counter()
            session.run(None, {session.get_inputs()[0].name: x})
            taken.append((time.perf_counter() - start) * 1e3)
    return times[0][WARM_UP:], times[1][WARM_UP:]


def _ratio(ours: list[float], theirs: list[float], unit: str) -> str:
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return f"{ratio:.2f} ({statistics.median(ours):.2f} / {statistics.median(theirs):.2f} {unit})"


if __name__ == "__main__":
    main()
