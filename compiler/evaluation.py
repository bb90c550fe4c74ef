"""How good a model is on labelled data, or how near to a reference: float models and artifacts alike."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bitsmith import registry
from bitsmith.artifact import load
from bitsmith.dataset import LABELS, Dataset
from bitsmith.errors import DataError, ModelError
from bitsmith.metrics import METRICS, Metric, Observed, Result
from bitsmith.progress import Progress, silent
from bitsmith.runners import BackendModel, FloatModel, IntegerModel, Runner
from bitsmith.windows import Window, input_batches, open_samples

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Score:
    """What one runner scored: the name of a float model's file, `integer.onnx`, or a backend."""

    model: str
    result: Result


def evaluate(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    metric: str | None = None,
    *,
    window: Window | None = None,
    reference: str | os.PathLike[str] | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    progress: Progress = silent,
) -> list[Score]:
    """Score a float model, or both `integer.onnx` and the backend's own files of a compiled folder.

    data:      an .npz file with the model's inputs, and `y` for labels or for what the outputs should be.
    metric:    top1, auc, mse or sqnr; by default top1 where the data has labels, else sqnr.
    window:    how samples longer than the model's input are cut.
    reference: a float model whose outputs mse and sqnr compare with, in place of `y`.
    Raises ModelError, DataError and ArtifactError.
    """
    runners = _runners(Path(model), input_shapes)
    dataset = open_samples(data, runners[0].samples, window)
    name = metric or ("top1" if dataset.has_labels and reference is None else "sqnr")
    if name not in METRICS:
        raise DataError(f"there is no metric {name}", where="--metric", fix=registry.suggest(name, METRICS))
    if METRICS[name].needs_labels and not dataset.has_labels:
        raise DataError(f"{name} needs labels", where=str(data), fix=f"Save them as {LABELS}, one a sample.")
    if not METRICS[name].needs_labels and reference is None and not dataset.has_labels:
        raise DataError(
            "there is nothing to compare the outputs with: no labels, no reference",
            where=str(data),
            fix="Give --reference FLOAT.onnx, or save labels as y.",
        )
    compared = None if reference is None else FloatModel(reference, input_shapes)
    if compared is not None and dict(compared.samples) != dict(runners[0].samples):
        raise ModelError(
            f"its inputs {_shown(compared.samples)} are not {_shown(runners[0].samples)}", where=compared.name
        )
    metrics = [METRICS[name]() for _ in runners]
    feed(dataset, runners, [[metric] for metric in metrics], compared, window, progress)
    return [Score(runner.name, one.result()) for runner, one in zip(runners, metrics, strict=True)]


def _runners(path: Path, input_shapes: Mapping[str, tuple[int, ...]] | None) -> Sequence[Runner]:
    if not path.is_dir():
        return [FloatModel(path, input_shapes)]
    artifact = load(path)
    return [IntegerModel(artifact), BackendModel(artifact)]


def feed(
    dataset: Dataset,
    runners: Sequence[Runner],
    metrics: Sequence[Sequence[Metric]],
    reference: FloatModel | None,
    window: Window | None = None,
    progress: Progress = silent,
) -> None:
    """Stream the data through every runner into its metrics. reference: whose outputs some of them compare with."""
    labels = dataset.labels() if dataset.has_labels else None
    done = 0
    progress("evaluate", done, len(dataset))
    for inputs in input_batches(dataset, runners[0].samples, window, min(runner.batch for runner in runners)):
        first = next(iter(inputs.values()))
        part = None if labels is None else labels[done : done + len(first)]
        expected = None if reference is None else list(_run(reference, inputs).values())
        for runner, fed in zip(runners, metrics, strict=True):
            outputs = _run(runner, inputs)
            for metric in fed:
                metric.add(Observed(inputs, outputs, _wanted(outputs, expected, part, metric), part))
        done += len(first)
        progress("evaluate", done, len(dataset))


def _run(runner: Runner, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs, (samples, windows, ...), for inputs (samples, windows, ...)."""
    samples, windows = next(iter(inputs.values())).shape[:2]
    outputs = runner.run({name: array.reshape(-1, *array.shape[2:]) for name, array in inputs.items()})
    return {name: array.reshape(samples, windows, *array.shape[1:]) for name, array in outputs.items()}


def _wanted(
    outputs: Mapping[str, Array], expected: Sequence[Array] | None, labels: Array | None, metric: Metric
) -> dict[str, Array] | None:
    """What the outputs should be, by name: those of the reference, in its order, or the labels."""
    if metric.needs_labels:
        return None
    wanted = expected if expected is not None else [] if labels is None else [labels[:, np.newaxis]]
    if [array.shape for array in wanted] != [array.shape for array in outputs.values()]:
        raise DataError(
            f"outputs of shape {[array.shape[2:] for array in outputs.values()]} cannot be compared with "
            f"{'those of the reference' if expected is not None else 'y'}, {[array.shape[2:] for array in wanted]}",
            fix="Give --reference FLOAT.onnx, the model that was compiled; or --metric top1 for class labels.",
        )
    return dict(zip(outputs, wanted, strict=True))


def _shown(samples: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in samples.items())
